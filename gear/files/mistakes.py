"""A user's mistake, which ends in one sentence, and the nearest name that may have been meant.

A bug ends with its traceback. The commands and jobs therefore catch Mistake alone: a ValueError of
torch, numpy or the standard library is a bug of ours, unless the code that reads a user's file
turns it into a Mistake that names the file.
"""

import difflib


class Mistake(ValueError):
    """Something that the user can correct. Its text is one sentence that names the cure."""


def did_you_mean(name, known):
    """The tail of an error message: the nearest known name, else all of them."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return "Known: " + ", ".join(sorted(str(k) for k in known)) + "."
