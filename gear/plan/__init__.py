"""`gear plan`: what a study trains and what it costs. It needs no weights, data or GPU."""
