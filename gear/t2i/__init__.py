"""Text to image: the AR that reads captions, and its stage."""
