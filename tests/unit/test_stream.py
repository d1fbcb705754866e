"""Training images from files: the batch of a step is a function of its address alone."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as tv
from torchvision.datasets import ImageFolder
from torchvision.transforms import functional as F

from gear import config
from gear.cli import batch
from gear.data import manifest, sets
from gear.data.memory import ImageSet, to_float, to_uint8
from gear.data.transforms import open_image, resize_short
from gear.runtime import distributed, rng

SIZE, BATCH, SEED = 16, 8, 5  # 21 training images: 2 batches an epoch


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_folder):
    root = tmp_path_factory.mktemp("imagenet")
    image_folder(root / "images")
    with pytest.MonkeyPatch.context() as patch:  # processes would take a second to start
        patch.setattr(manifest, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(2))
        manifest.prepare(root / "images", 3, root / "manifest.json")
    return root


def settings_of(folder, workers=0, **changes):
    data = {"data.path": str(folder / "images"), "data.resolution": SIZE, "data.classes": 3}
    own = {"runtime.workers": workers, "optim.batch": BATCH, "seed": SEED}
    return config.build(data | own | changes)


def training(folder, workers=0, **changes):
    return sets.training_set(settings_of(folder, workers, **changes), folder / "manifest.json")


def validation(folder, workers=0, **changes):
    return sets.validation_set(settings_of(folder, workers, **changes), folder / "manifest.json")


def place(epoch, number):
    """(top, left, flip) in [0, 1) of an image in an epoch."""
    crop = [float(rng.uniform((SEED, "crop", epoch), number, i)) for i in (0, 1)]
    return *crop, float(rng.uniform((SEED, "flip", epoch), number))


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and np.array_equal(a.indices, b.indices)
        and a.epoch == b.epoch
    )


# what a batch is


def test_bytes_become_floats_by_a_division_that_is_rounded_once():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(x), torch.from_numpy(x.numpy().astype("float32") / 127.5 - 1))
    assert torch.equal(to_uint8(to_float(x)), x)


def test_a_batch_is_what_torchvision_makes_of_the_same_numbers(folder):
    files = ImageFolder(folder / "images/train")
    assert files.classes == ["n01", "n02", "n10"]
    data = training(folder)
    for step in (0, 1, 5):
        batch, epoch = data.batch(step), step // 2
        order = rng.permutation((SEED, "order", epoch), 21)
        chosen = order[step % 2 * BATCH : (step % 2 + 1) * BATCH]
        assert np.array_equal(batch.indices, chosen) and batch.epoch == epoch
        for x, label, number in zip(batch.images, batch.labels, chosen, strict=True):
            picture, expected_label = files[number]
            top, left, flip = place(epoch, number)
            picture = F.resize(picture, SIZE, tv.InterpolationMode.BICUBIC)
            height, width = picture.height - SIZE + 1, picture.width - SIZE + 1
            picture = F.crop(picture, int(top * height), int(left * width), SIZE, SIZE)
            picture = F.hflip(picture) if flip < 0.5 else picture
            assert torch.equal(x, F.pil_to_tensor(picture)) and label == expected_label


def test_the_tensors_are_those_that_a_network_expects(folder):
    batch = training(folder).batch(0)
    assert batch.images.shape == (BATCH, 3, SIZE, SIZE) and batch.images.is_contiguous()
    assert (batch.images.dtype, batch.labels.dtype) == (torch.uint8, torch.int64)
    for size, counts in ((0, [BATCH]), (3, [3, 3, 2])):
        parts = batch.parts(size, torch.device("cpu"))
        assert [len(part.images) for part in parts] == counts
        images = torch.cat([part.images for part in parts])
        assert images.dtype == torch.float32 and torch.equal(images, to_float(batch.images))
        assert -1 <= images.min() < -0.5 and 0.5 < images.max() <= 1
    gray = training(folder, **{"data.channels": 1}).batch(0)
    assert gray.images.shape == (BATCH, 1, SIZE, SIZE)


def test_the_order_is_that_of_images_in_memory(folder, tmp_path, photo):
    for i in range(21):
        target = tmp_path / "train" / str(i // 7)
        target.mkdir(parents=True, exist_ok=True)
        photo(SIZE, SIZE, i).save(target / f"{i:02d}.png")
    data = dataclasses.replace(settings_of(folder).data, path=str(tmp_path), hold="memory")
    in_memory, stream = ImageSet(data, "train", BATCH, SEED), training(folder)
    for step in range(5):
        a, b = in_memory.batch(step), stream.batch(step)
        assert np.array_equal(a.indices, b.indices) and a.epoch == b.epoch


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_gives_the_same_batches_from_any_step(folder, workers):
    expected = [training(folder).batch(step) for step in range(7)]
    data = training(folder, workers)
    for step in (3, 4, 5, 6, 0, 1, 6, 2, 2):  # resumed inside epoch 1, then there and back
        assert same(data.batch(step), expected[step])


def test_processes_share_a_batch(folder, monkeypatch):
    whole, parts = training(folder).batch(3), []
    monkeypatch.setattr(distributed, "size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(training(folder, workers=rank).batch(3))
    for name in ("images", "labels"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))
    assert [len(p.indices) for p in parts] == [4, 4]


def test_crops_and_flips_differ_between_epochs_and_cover_their_range(folder):
    """Image 5 of the first class is 31 x 16, so that 16 places fit."""
    data = training(folder, **{"optim.batch": 21})
    picture = ImageFolder(folder / "images/train")[5][0]
    assert picture.size == (31, 16)
    whole = F.pil_to_tensor(picture)
    places, flips = [], []
    for epoch in range(150):
        batch = data.batch(epoch)
        x = batch.images[batch.indices.tolist().index(5)]
        fits = [
            (left, flip)
            for left in range(16)
            for flip in (False, True)
            if torch.equal(x.flip(-1) if flip else x, whole[:, :, left : left + SIZE])
        ]
        assert len(fits) == 1
        places.append(fits[0][0])
        flips.append(fits[0][1])
    assert set(places) == set(range(16)) and 50 < sum(flips) < 100
    assert len({place(epoch, 5) for epoch in range(150)}) == 150


def test_without_flips_none_is_mirrored(folder):
    mirrored, plain = training(folder).batch(0), training(folder, **{"data.flip": False}).batch(0)
    flips = [place(0, n)[2] < 0.5 for n in plain.indices]
    assert any(flips) and not all(flips)
    for a, b, flip in zip(mirrored.images, plain.images, flips, strict=True):
        assert torch.equal(a, b.flip(-1) if flip else b)


def test_other_seeds_are_other_orders_and_crops(folder):
    first, other = (training(folder, **{"optim.batch": 21, "seed": s}).batch(0) for s in (1, 2))
    assert not np.array_equal(first.indices, other.indices)
    place = [int(np.flatnonzero(b.indices == 3)[0]) for b in (first, other)]
    assert not torch.equal(first.images[place[0]], other.images[place[1]])


def test_too_large_a_batch_is_named(folder):
    with pytest.raises(ValueError, match=r"optim.batch is 22, but .*train holds 21 images; lower"):
        training(folder, **{"optim.batch": 22})


# validation


@pytest.mark.parametrize("workers, name", [(0, "bicubic"), (2, "bicubic"), (2, "bilinear")])
def test_validation_images_are_torchvisions_in_the_order_of_their_names(folder, workers, name):
    steps = [tv.Resize(SIZE, tv.InterpolationMode(name)), tv.CenterCrop(SIZE), tv.PILToTensor()]
    files = ImageFolder(folder / "images/val", tv.Compose(steps))
    expected = torch.stack([x for x, _ in files])
    data = validation(folder, workers, **{"data.interpolation": name})
    pieces = list(data.pieces(4))
    assert [len(images) for images, _ in pieces] == [4, 4, 1] and len(data) == 9
    assert torch.equal(torch.cat([images for images, _ in pieces]), expected)
    assert [n for _, names in pieces for n in names] == [
        path[len(str(folder / "images/val/")) + 1 :] for path, _ in files.samples
    ]
    assert data.labels.tolist() == files.targets
    assert torch.equal(data.take(np.array([7, 2])), expected[[7, 2]])


def test_a_manifest_must_be_given(folder):
    with pytest.raises(ValueError, match="data.hold is stream, which reads .*; give its manifest"):
        sets.validation_set(settings_of(folder), None)


# gear batch


@pytest.mark.parametrize("step", [1, 3, 5])
def test_gear_batch_is_what_the_trainer_reads(folder, step):
    """Compared with the batch of a trainer's own data set, and with the files, cropped anew."""
    settings = settings_of(folder, workers=2)
    found = batch.read(settings, folder / "manifest.json", step)
    read = training(folder, workers=2).batch(step - 1)
    assert torch.equal(torch.from_numpy(found["images"]).permute(0, 3, 1, 2), read.images)
    assert (found["labels"] == read.labels.numpy()).all()
    assert (found["indices"] == read.indices).all() and found["epoch"] == read.epoch
    assert found["mirrored"].any() or step != 1
    for i, name in enumerate(found["names"]):
        image = resize_short(open_image(folder / "images/train" / name, 3), SIZE)
        left, top = found["crops"][i]
        square = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))
        square = square[:, ::-1] if found["mirrored"][i] else square
        assert (square == found["images"][i]).all(), name


def test_gear_batch_writes_a_grid_and_its_arrays(folder, tmp_path, capsys):
    settings = settings_of(folder)
    run = SimpleNamespace(settings=settings, steps={"400k": 4})
    study = SimpleNamespace(run=lambda *_: run, manifest=lambda _: folder / "manifest.json")
    batch.main(study, "gear-l@400k", tmp_path / "b.png")
    arrays = np.load(tmp_path / "b.npz")
    with Image.open(tmp_path / "b.png") as picture:
        grid = np.asarray(picture)
    assert grid.shape == (3 * 64, 3 * 64, 3)  # 8 images; pixels are repeated 4 times
    assert (grid[::4, ::4][:SIZE, SIZE : 2 * SIZE] == arrays["images"][1]).all()
    assert not grid[-64:, -64:].any()
    assert "the 8 images of step 4 of gear-l, epoch 1" in capsys.readouterr().out
    for wrong in ("gear-l@5", "gear-l@0", "gear-l@40k"):
        with pytest.raises(ValueError, match="a number from 1 to 4, or one of 400k"):
            batch.main(study, wrong, tmp_path / "c.png")
    with pytest.raises(ValueError, match="names no step; write it as run@step"):
        batch.main(study, "gear-l", tmp_path / "c.png")
    for name in ("b.png", "c.png"):  # an .npz of the user's is no less
        (tmp_path / "c.npz").touch()
        with pytest.raises(ValueError, match=r"b.png is there already; name|c.npz is there alrea"):
            batch.main(study, "gear-l@400k", tmp_path / name)
    batch.main(study, "gear-l@400k", tmp_path / "b.png", force=True)
