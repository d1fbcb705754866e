"""Alignment of AR states with a frozen vision encoder (REPA, arXiv 2410.06940)."""
