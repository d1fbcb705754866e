"""GEAR: Guided End-to-End AutoRegression for Image Synthesis, reproduced (arXiv 2606.32039)."""
