"""A reference that does not fit is named beside the numbers, and changes none of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gear.data.png import save_png
from gear.evaluation import notes, reference
from gear.metrics.protocol import PROTOCOLS


def summary(count):
    return SimpleNamespace(count=count)


@pytest.mark.parametrize(
    "count, real, said",
    [
        (50_000, 50_000, []),
        (100, 50_000, ["100 images were scored, protocol adm is published with 50000"]),
        (50_000, reference.UNSTATED, ["the reference does not say of which images"]),
        (50_000, 400, ["the reference has 400 images, fewer than the 50000"]),
    ],
)
def test_numbers_of_images(count, real, said):
    found = list(notes.of_counts(PROTOCOLS["adm"], count, summary(real)))
    assert len(found) == len(said)
    assert all(note.startswith(begin) for note, begin in zip(found, said, strict=True))
    assert not list(notes.of_counts(PROTOCOLS["demo"], 7, summary(9)))  # has no published number


def test_resolutions():
    assert not list(notes.of_sizes({(16, 16)}, (16, 16)))
    (unknown,) = notes.of_sizes({(16, 16)}, None)
    assert "states no resolution" in unknown
    (other,) = notes.of_sizes({(16, 16), (24, 32)}, (16, 16))
    assert other.startswith("samples of 32 x 24 pixels were resized to 16 x 16")


def test_reconstructions_are_told_by_their_mark_or_their_names(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    for folder, text in (("made", None), ("marked", {notes.MARK: notes.RECONSTRUCTION})):
        (tmp_path / folder).mkdir()
        save_png(tmp_path / folder / "a.png", picture, text)
    for folder, name in (("originals", "a.jpg"), ("others", "b.png")):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture).save(tmp_path / folder / name)

    def said(folder, real):
        samples = SimpleNamespace(path=tmp_path / folder, names=["a.png"])
        return list(notes.of_reconstructions(samples, real))

    assert len(said("marked", tmp_path / "others")) == len(said("marked", "adm.npz")) == 1
    assert "protocol reconstruction" in said("made", tmp_path / "originals")[0]
    assert not said("made", tmp_path / "others") and not said("made", "adm.npz")
    array = SimpleNamespace(path="the array")
    assert not list(notes.of_reconstructions(array, "adm.npz"))
