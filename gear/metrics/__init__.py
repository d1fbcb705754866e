"""Pure functions from features or images to metrics; no network is loaded here."""
