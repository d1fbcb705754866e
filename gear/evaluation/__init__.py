"""Jobs that score: images, checkpoints and samples under a protocol."""
