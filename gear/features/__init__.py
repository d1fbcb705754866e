"""Feature networks that scores are computed on: Inception, DINOv2, CLIP, and a stand-in."""
