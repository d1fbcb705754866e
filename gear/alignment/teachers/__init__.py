"""Frozen vision encoders: images in [-1, 1] (B, C, H, W) -> patch features (B, N, F)."""
