"""The engine under all trainers; it knows nothing of tokenizers or transformers."""
