"""CLIP score: 100 times the mean cosine of images and their captions.

Hessel et al. 2021, arXiv 2104.08718, but without the factor 2.5, without the clamp and without a
prompt before the caption. The network is in gear/features/clip.py.
"""

from pathlib import Path

from gear.data.finding import out_of_order
from gear.files.mistakes import Mistake
from gear.files.reading import named, read_json, read_text


def clip_score(clip, batches, captions) -> float:
    """100 times the mean cosine of images and captions.

    clip: features.clip.Clip; batches: of uint8 images (B, 3, H, W); captions: in the same order."""
    total, count = 0.0, 0
    for images in batches:
        texts = captions[count : count + len(images)]
        total += (clip.images(images) * clip.captions(texts)).sum().item()
        count += len(images)
    assert count == len(captions)
    return 100.0 * total / count


def read_captions(path, count, names=None):
    """[caption] of `count` images, from lines of text or JSON {file name: caption}.

    names: the images' names, needed for JSON; None for an archive. Mistake: unreadable file, a
    missing caption, another number of captions, or captions by position where the names' order is
    not that of their numbers."""
    cure = "correct it"
    if Path(path).suffix == ".json":
        content = read_json(path, cure, "name the file of captions")
    else:
        content = read_text(path, "name the file of captions").splitlines()
    if not isinstance(content, dict | list):
        raise Mistake(
            f"{path} is {named(content)}; write a list of captions, or a mapping {{file: caption}}."
        )
    by_position = isinstance(content, list)
    if not by_position:
        if names is None:
            raise Mistake(
                f"{path} has captions by file name, but an archive's images have none; write them "
                "in the archive's order, a line each."
            )
        missing = [name for name in names if name not in content]
        if missing:
            raise Mistake(f"{path} has no caption for {missing[0]}; add it.")
        content = [content[name] for name in names]
    if len(content) != count:
        raise Mistake(
            f"{path} holds {len(content)} captions for {count} images; give one for each image."
        )
    if by_position and names is not None:
        _require_order(path, names)
    wrong = [caption for caption in content if not isinstance(caption, str)]
    if wrong:
        raise Mistake(f"{path}: a caption is {named(wrong[0])}; write it as text in quotes.")
    return content


def _require_order(path, names):
    """Mistake where captions by position would go to other images than a person means."""
    pair = out_of_order(names)
    if pair:
        raise Mistake(
            f"{path} has captions by position, but in the order of their names {pair[0]} comes "
            f"before {pair[1]}; write the numbers with as many digits, or give a .json of {{file: "
            "caption}."
        )
