"""Tables and figures, made from JSON, CSV and .npz files. Nothing here needs torch."""
