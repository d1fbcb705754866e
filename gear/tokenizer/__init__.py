"""Vector-quantized tokenizers: image -> tokens -> image."""
