"""The error type of a user's mistake, and suggestions for misspelt names.

The commands and jobs catch only Mistake and print its one sentence. Every other error is a bug in
this code and keeps its traceback. Code that reads a user's file turns errors of torch, numpy or the
standard library into a Mistake that names the file.
"""

import difflib


class Mistake(ValueError):
    """An error that the user can correct; one sentence with the cure."""


def memory_said(error):
    """The sentence for an error that says that memory was full, or None for any other error.

    torch raises RuntimeError where the system refuses memory, and a type of its own on a GPU."""
    text = " ".join(str(error).split())
    words = ("can't allocate memory", "not enough memory", "out of memory")
    full = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(part in text.lower() for part in words)
    )
    if not full:
        return None
    said = f" ({text[:160]})" if text else ""
    return f"there is not enough memory{said}; take a smaller file, or fewer or smaller images."


def counted(number, noun):
    """'1 image', '2 images'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def some(names, count=10):
    """The first names of a list as text, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def did_you_mean(name, known):
    """The end of an error message: the most similar known name, or the known names (at most 40)."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    names = sorted(str(k) for k in known)
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    if not names:
        return "There is none to choose from; remove it."
    return f"Known: {', '.join(names[:40])}{more}."
