"""CLIP score: 100 times the mean cosine of images and their captions.

Hessel et al. 2021, arXiv 2104.08718, but without the factor 2.5, without the clamp and without a
prompt before the caption. The network is in gear/features/clip.py.
"""

import json
from pathlib import Path

from gear.files.mistakes import Mistake


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

    names: the images' names, needed for JSON; None for an archive.
    Mistake: unreadable file, a missing caption, or another number of captions."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} cannot be read as captions ({error}); correct it.") from None
    if isinstance(content, dict):
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
    return [str(caption) for caption in content]
