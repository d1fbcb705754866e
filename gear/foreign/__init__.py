"""Weight files of other projects, read without running code and converted strictly."""
