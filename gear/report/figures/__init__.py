"""Figures, one module for each kind, from the files of a study."""
