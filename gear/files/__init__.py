"""Reading, writing and hashing of files. This folder imports no torch."""
