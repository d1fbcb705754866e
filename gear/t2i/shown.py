"""The prompts whose pictures the figures show. No prompt or picture is chosen by its looks."""

from dataclasses import dataclass

from gear.data.captions import SLANTS, STROKES, caption, words_of

EACH = 6  # pictures of a prompt
PROMPTS = 8
UNSEEN = "draw me a nine please"  # the training captions of the demo have no such words
GUIDANCE = 4.0


@dataclass(frozen=True)
class Group:
    """Prompts of one figure."""

    prompts: list
    each: int  # pictures of each prompt
    unseen: list  # bool of each prompt: its words are not in the training captions
    one_seed: bool = False  # picture j of all prompts has the same random numbers
    guidance: float = GUIDANCE


def shown(captions):
    """{name: Group} of the figures.

    `prompts` has the first captions. If all of these are of digits, UNSEEN takes the place of the
    last one, and a second Group `words` has all digits in rows of thin left, thin right, bold left
    and bold right. captions: of the study's first set of prompts."""
    first = list(captions[:PROMPTS])
    if any(words_of(text)["digit"] is None for text in first):
        return {"prompts": Group(first, EACH, [False] * len(first))}
    words = [
        caption("tags", digit, stroke, slant)
        for stroke in STROKES
        for slant in SLANTS
        for digit in range(10)
    ]
    return {
        "prompts": Group([*first[:-1], UNSEEN], EACH, [False] * (len(first) - 1) + [True]),
        "words": Group(words, 1, [False] * len(words), one_seed=True),
    }
