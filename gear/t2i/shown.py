"""The prompts whose pictures the figures show. Nothing is chosen by what it looks like."""

from dataclasses import dataclass

from gear.data.captions import SLANTS, STROKES, tags, words_of

EACH = 6  # pictures of a prompt
PROMPTS = 8
UNSEEN = "draw me a nine please"  # the training captions of the demo have no such words
GUIDANCE = 4.0


@dataclass(frozen=True)
class Group:
    """Prompts of one figure."""

    prompts: list
    each: int  # pictures of each prompt
    unseen: list  # of each prompt, whether it has words that training never has
    one_seed: bool = False  # picture j of all prompts has the same random numbers
    guidance: float = GUIDANCE


def shown(captions):
    """{name: Group}: the first captions; and, where captions are of digits, all words.

    captions: of the study's first set of prompts."""
    if any(words_of(caption) is None for caption in captions[:PROMPTS]):
        first = list(captions[:PROMPTS])
        return {"prompts": Group(first, EACH, [False] * len(first))}
    first = [*captions[: PROMPTS - 1], UNSEEN]
    words = [
        tags(digit, stroke, slant) for stroke in STROKES for slant in SLANTS for digit in range(10)
    ]
    unseen = [False] * (len(first) - 1) + [True]
    return {
        "prompts": Group(first, EACH, unseen),
        "words": Group(words, 1, [False] * len(words), one_seed=True),
    }
