"""Pure functions that describe representations and codebooks."""
