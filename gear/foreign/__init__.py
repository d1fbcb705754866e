"""Files of weights that other people wrote: read without running code, and mapped strictly."""
