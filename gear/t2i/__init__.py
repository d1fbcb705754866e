"""Text to image: captions as features, the AR that reads them, and its training."""
