"""Tiny text encoders of random weights, and the captions that their tokenizers come from."""

import itertools

SLOTS, WIDTH = 24, 64
TEXT = {"slots": SLOTS, "width": WIDTH}
SPEC = {
    "kind": "standin",
    "label": "stand-in text encoder (random weights)",
    "layers": 2,
    "heads": 4,
    "vocabulary": 320,
    "seed": 3,
}
DIGITS = "zero one two three four five six seven eight nine".split()
CAPTIONS = [
    f"a {stroke} handwritten {digit} leaning {side}"
    for digit, stroke, side in itertools.product(DIGITS, ("thin", "bold"), ("left", "right"))
]


def write(folder, **changes):
    """A stand-in's folder. changes: of SPEC."""
    from gear.t2i import text_standin

    text_standin.make(CAPTIONS, SPEC | changes, TEXT, folder)
    return folder
