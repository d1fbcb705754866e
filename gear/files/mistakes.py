"""The error type of a user's mistake, and suggestions for misspelt names.

The commands and jobs catch only Mistake and print its one sentence. Every other error is a bug in
this code and keeps its traceback. Code that reads a user's file turns errors of torch, numpy or the
standard library into a Mistake that names the file.
"""

import difflib


class Mistake(ValueError):
    """An error that the user can correct; one sentence with the cure."""


def did_you_mean(name, known):
    """The end of an error message: the most similar known name, or all names."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return "Known: " + ", ".join(sorted(str(k) for k in known)) + "."
