"""Tables and figures, made from JSON, CSV and pictures.npz alone: nothing here needs torch."""
