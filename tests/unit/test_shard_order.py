"""Batches of captioned images: a function of (seed, step), each sample once an epoch.

The pictures say their number in their pixels, so that image, caption and number are compared.
"""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import shard_files
import torch

from gear import config
from gear.cli import batch as cli_batch
from gear.data import index, sets, shards
from gear.data.decode import Ahead
from gear.data.memory import to_float
from gear.data.order import ShardOrder
from gear.data.transforms import validation_pixels

SIZES, TOTAL, BATCH = (1, 7, 500), 508, 24  # 508 = 21 * 24 + 4


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    shard_files.folder(root / "data", train=SIZES)
    index.prepare(root / "data", root / "manifest.json")
    return root


def opened(home, share=slice(None), split="train", **changes):
    data = {"data.source": "shards", "data.path": str(home / "data"), "data.channels": 1}
    data |= {"data.resolution": shard_files.SIDE, "data.shards_at_once": 2}
    settings = config.build(
        data | {"optim.batch": BATCH, "runtime.workers": 0, "seed": 5} | changes
    )
    manifest = home / "manifest.json"
    if split == "val":
        return sets.validation_set(settings, manifest)
    return sets.image_set(settings, split, manifest, settings.optim.batch, settings.seed, share)


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and a.captions == b.captions
        and np.array_equal(a.indices, b.indices)
        and np.array_equal(a.epochs, b.epochs)
    )


# the order


@pytest.mark.parametrize("batch", [1, 24, 100, 508])
@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_each_sample_comes_once_an_epoch(batch, at_once):
    order = ShardOrder(np.array(SIZES), at_once, batch, 5, "x")
    steps = [order.chosen(step) for step in range(-(-3 * TOTAL // batch))]
    epochs, numbers = (np.concatenate(parts)[: 3 * TOTAL] for parts in zip(*steps, strict=True))
    assert all(len(n) == batch for _, n in steps)
    assert np.array_equal(epochs, np.repeat([0, 1, 2], TOTAL))
    by_epoch = numbers.reshape(3, TOTAL)
    assert np.array_equal(np.sort(by_epoch, axis=1), np.tile(np.arange(TOTAL), (3, 1)))
    assert len({tuple(row) for row in by_epoch}) == 3


def test_the_last_batch_of_an_epoch_takes_its_rest_from_the_next():
    order = ShardOrder(np.array(SIZES), 2, BATCH, 5, "x")
    epochs, numbers = order.chosen(21)
    assert epochs.tolist() == [0] * 4 + [1] * 20
    whole = ShardOrder(np.array(SIZES), 2, TOTAL, 5, "x")
    assert np.array_equal(numbers[:4], whole.chosen(0)[1][-4:])
    assert np.array_equal(numbers[4:], whole.chosen(1)[1][:20])


def test_the_order_of_samples_does_not_depend_on_the_batch():
    def first(batch):
        order = ShardOrder(np.array(SIZES), 2, batch, 5, "x")
        return np.concatenate([order.chosen(step)[1] for step in range(-(-700 // batch))])[:700]

    assert np.array_equal(first(1), first(24)) and np.array_equal(first(1), first(508))


def test_few_shards_are_read_at_a_time_and_their_samples_are_mixed():
    order = ShardOrder(np.full(40, 50), 4, 10, 7, "x")
    groups = []
    for step in range(200):
        groups.append(set(order.chosen(step)[1] // 50))
    for begin in range(0, 200, 20):  # a group: 4 shards of 50 samples, 20 batches of 10
        own = set().union(*groups[begin : begin + 20])
        assert len(own) == 4
        assert np.mean([len(g) for g in groups[begin : begin + 20]]) > 3
    first = set().union(*groups[:20])
    assert first != {0, 1, 2, 3}  # shards are permuted, and otherwise in the next epoch
    assert first != {n // 50 for step in range(200, 220) for n in order.chosen(step)[1].tolist()}


def test_the_order_is_one_of_the_seed_and_any_step_may_be_the_first():
    def order(seed=5):
        return ShardOrder(np.array(SIZES), 2, BATCH, seed, "x")

    one = order()
    expected = [one.chosen(step) for step in range(60)]
    for step in (59, 21, 22, 0, 43):
        assert all(map(np.array_equal, order().chosen(step), expected[step]))
        assert all(map(np.array_equal, one.chosen(step), expected[step]))
    assert not np.array_equal(order(6).chosen(0)[1], expected[0][1])


def test_a_hundred_million_samples_need_no_permutation_of_all():
    order = ShardOrder(np.full(10_000, 10_000), 8, 256, 0, "x")
    epochs, numbers = order.chosen(390_624)
    assert len(set(numbers.tolist())) == 256 and set(epochs) == {0}
    assert sum(group.size for group in order._groups.values()) <= 3 * 80_000


def test_a_shard_without_samples_is_passed_over():
    order = ShardOrder(np.array([0, 3, 0, 2, 0]), 1, 5, 0, "x")
    for step in range(4):
        assert sorted(order.chosen(step)[1]) == [0, 1, 2, 3, 4]


def test_too_large_a_batch_is_named(home):
    with pytest.raises(ValueError, match=r"optim.batch is 509, but .*train holds 508 samples; low"):
        opened(home, **{"optim.batch": 509})


# the batches


def test_image_caption_and_number_belong_together(home):
    data = opened(home)
    assert len(data) == TOTAL and data.classes == []
    mirrored = []
    for step in (0, 21, 40):
        batch = data.batch(step)
        assert batch.images.shape == (BATCH, 1, 16, 16) and batch.images.dtype == torch.uint8
        assert np.array_equal(batch.indices, data.order.chosen(step)[1])
        for image, text, number in zip(batch.images, batch.captions, batch.indices, strict=True):
            assert shard_files.number_of(image) == number
            assert text == shard_files.caption(number)
            mirrored.append((shard_files.is_mirrored(image), "left" in text))
    assert not any(flip for flip, named in mirrored if named)
    flips = [flip for flip, named in mirrored if not named]
    assert 0.25 < np.mean(flips) < 0.75


def test_mirroring_is_at_seed_epoch_and_image(home):
    whole = [opened(home, **{"optim.batch": TOTAL}).batch(epoch) for epoch in (0, 1)]
    flips = []
    for batch in whole:
        order = np.argsort(batch.indices)
        flips.append([shard_files.is_mirrored(batch.images[i]) for i in order])
    changed = np.mean(np.array(flips[0]) != np.array(flips[1]))
    assert 0.25 < changed < 0.5  # of three quarters a half
    for step, batch in ((5, opened(home).batch(5)), (30, opened(home).batch(30))):
        for image, number, epoch in zip(batch.images, batch.indices, batch.epochs, strict=True):
            assert shard_files.is_mirrored(image) == flips[epoch][number], step


def test_flips_can_be_switched_off_and_on_for_all(home):
    none = opened(home, **{"data.flip": False}).batch(0)
    assert not any(map(shard_files.is_mirrored, none.images))
    published = opened(home, **{"optim.batch": TOTAL, "data.flip_directions": True}).batch(0)
    named = ["left" in text for text in published.captions]
    flips = np.array(list(map(shard_files.is_mirrored, published.images)))
    assert 0.3 < flips[named].mean() < 0.7


@pytest.mark.parametrize(
    "text, found",
    [
        ("a dog, left of a cat", True),
        ("The RIGHT hand", True),
        ("leaning left.", True),
        ("the leftmost tree", True),
        ("a right-handed man", True),
        ("bright lights, upright", False),
        ("copyright 2020", False),
        ("", False),
    ],
)
def test_which_words_name_a_direction(text, found):
    assert bool(shards.DIRECTION.search(text)) == found


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_batches_from_any_step(home, workers):
    expected = opened(home)
    data = opened(home, **{"runtime.workers": workers})
    for step in (20, 21, 22, 23, 3, 4, 22, 22):  # resumed at an epoch's end, then there and back
        assert same(data.batch(step), expected.batch(step))


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_are_the_whole(home, processes):
    whole, each = opened(home).batch(21), BATCH // processes
    parts = [opened(home, slice(i * each, (i + 1) * each)).batch(21) for i in range(processes)]
    assert torch.equal(torch.cat([p.images for p in parts]), whole.images)
    assert sum((p.captions for p in parts), ()) == whole.captions
    assert np.array_equal(np.concatenate([p.indices for p in parts]), whole.indices)
    assert np.array_equal(np.concatenate([p.epochs for p in parts]), whole.epochs)


def test_parts_cut_all_of_a_batch(home):
    batch = opened(home).batch(21)
    parts = batch.parts(10, torch.device("cpu"))
    assert [len(p.captions) for p in parts] == [10, 10, 4] == [len(p.epochs) for p in parts]
    assert sum((p.captions for p in parts), ()) == batch.captions
    whole = batch._replace(images=to_float(batch.images))
    assert torch.equal(torch.cat([p.images for p in parts]), whole.images)
    assert same(batch.parts(0, torch.device("cpu"))[0], whole)


def test_captions_of_few_steps_are_kept(home):
    data = opened(home, **{"runtime.workers": 1})
    for step in (0, 1, 2, 9, 1, 30):
        data.batch(step)
    assert set(data._asked) == {31, 32}


def test_gear_batch_is_what_the_trainer_reads(home, tmp_path, capsys):
    data = {"data.source": "shards", "data.path": str(home / "data"), "data.channels": 1}
    data |= {"data.resolution": shard_files.SIDE, "optim.batch": BATCH, "seed": 5}
    settings = config.build(data | {"data.shards_at_once": 2, "runtime.workers": 2})
    run = SimpleNamespace(settings=settings, steps={"390k": 30})
    study = SimpleNamespace(run=lambda *_: run, manifest=lambda _: home / "manifest.json")
    cli_batch.main(study, "gear-t2i@22", tmp_path / "b.png")
    found, read = np.load(tmp_path / "b.npz"), opened(home).batch(21)
    assert found["captions"].tolist() == list(read.captions)
    assert np.array_equal(found["epochs"], read.epochs) and found["epochs"].tolist().count(0) == 4
    assert found["mirrored"].tolist() == [shard_files.is_mirrored(x) for x in read.images]
    assert found["names"][0].endswith(f".tar/{read.indices[0]:06d}")
    assert torch.equal(torch.from_numpy(found["images"])[..., 0], read.images[:, 0])
    assert "the 24 images of step 22 of gear-t2i, epoch 0" in capsys.readouterr().out


# validation


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_is_in_the_order_of_numbers(home, workers):
    data = opened(home, split="val", **{"runtime.workers": workers})
    pieces = list(data.pieces(2))
    assert [len(images) for images, _ in pieces] == [2, 2, 1] and len(data) == 5
    images = torch.cat([images for images, _ in pieces])
    assert images.dtype == torch.uint8
    assert [shard_files.number_of(x) for x in images] == [0, 1, 2, 3, 4]
    assert not any(map(shard_files.is_mirrored, images))
    assert data.captions(1, 5) == [shard_files.caption(n) for n in range(1, 5)]
    assert [data.index.key(n) for n in range(5)] == [f"{n:06d}" for n in range(5)]
    assert [n for _, names in pieces for n in names][3] == "001.tar/000003"
    assert torch.equal(data.take(np.array([4, 0])), images[[4, 0]])


def test_images_of_any_shape_are_resized_as_in_a_folder(tmp_path, photo):
    members = []
    for i, shape in enumerate([(40, 30), (30, 41), (12, 21)]):
        file = io.BytesIO()
        photo(*shape, i).save(file, format="JPEG", quality=95)
        (tmp_path / f"{i}.jpg").write_bytes(file.getvalue())
        members += [(f"{i}.JPG", file.getvalue()), (f"{i}.json", b'{"caption": "x"}')]
    for split in ("train", "val"):
        shard_files.write(tmp_path / f"data/{split}/0.tar", members)
    index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    for name in ("bicubic", "bilinear"):
        changes = {"data.channels": 3, "data.interpolation": name}
        images = opened(tmp_path, split="val", **changes, **{"optim.batch": 1}).take(range(3))
        for i, image in enumerate(images):
            expected = validation_pixels(tmp_path / f"{i}.jpg", 3, 16, name)
            assert np.array_equal(image.permute(1, 2, 0), expected)
    batch = opened(tmp_path, **{"data.channels": 3, "data.flip": False, "optim.batch": 3}).batch(0)
    expected = [validation_pixels(tmp_path / f"{i}.jpg", 3, 16) for i in batch.indices]
    expected = torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2)
    assert torch.equal(batch.images, expected)
    [part] = batch.parts(0, torch.device("cpu"))
    assert torch.equal(part.images, to_float(expected)) and part.captions == batch.captions


# broken images


def large_png():
    """A PNG whose head claims 40,000 x 25,000 pixels."""
    data = shard_files.picture(0)
    head = b"IHDR" + struct.pack(">II", 40_000, 25_000) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """40 samples, of which the images 3, 17 and 30 cannot be read."""
    root = tmp_path_factory.mktemp("damaged")
    wrong = {3: b"no image", 17: large_png(), 30: shard_files.picture(30)[:45]}
    numbers = iter(range(40))
    for shard, size in enumerate((10, 30)):
        members = []
        for _ in range(size):
            number = next(numbers)
            text, (name, data) = shard_files.sample(number)
            members += [text, (name, wrong.get(number, data))]
        shard_files.write(root / f"data/train/{shard}.tar", members)
    shard_files.write(root / "data/val/0.tar", shard_files.sample(0))
    index.prepare(root / "data", root / "manifest.json")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_replaced_by_another_with_its_caption(damaged, workers):
    expected = opened(damaged, **{"optim.batch": 10})
    data = opened(damaged, **{"optim.batch": 10, "runtime.workers": workers})
    replaced = []
    for step in (*range(12), 2):  # three epochs
        batch = data.batch(step)
        if step < 4 or workers:
            assert same(batch, expected.batch(step))
        wanted = data.order.chosen(step)[1]
        replaced += [(w, n) for w, n in zip(wanted, batch.indices, strict=True) if w != n]
        for image, text, number in zip(batch.images, batch.captions, batch.indices, strict=True):
            assert shard_files.number_of(image) == number and text == shard_files.caption(number)
    assert {w for w, _ in replaced} == {3, 17, 30} == set(data.broken)
    assert not {n for _, n in replaced} & {3, 17, 30}
    assert len({n for w, n in replaced if w == 3}) > 1  # another one in another epoch
    assert data.broken[17] == "it has more than 178 million pixels"


def test_shares_replace_alike(damaged):
    whole = [opened(damaged, **{"optim.batch": 10}).batch(step) for step in range(4)]
    for i in (0, 1):
        share = slice(5 * i, 5 * i + 5)
        data = opened(damaged, share, **{"optim.batch": 10})
        for step in range(4):
            assert np.array_equal(data.batch(step).indices, whole[step].indices[share])
            assert torch.equal(data.batch(step).images, whole[step].images[share])


@pytest.mark.parametrize("workers", [0, 1])
def test_beyond_the_limit_the_run_stops_and_names_the_first(damaged, workers):
    changes = {"optim.batch": 10, "data.broken_limit": 2, "runtime.workers": workers}
    data = opened(damaged, **changes)
    with pytest.raises(ValueError) as error:
        for step in range(4):
            data.batch(step)
    said = str(error.value)
    assert said.startswith(
        f"3 images of {damaged}/data/train cannot be read, and data.broken_limit"
    )
    for name in ("0.tar/000003", "1.tar/000017", "1.tar/000030"):
        assert name in said
    assert "it has more than 178 million pixels" in said and said.endswith("or set a higher limit.")


def test_the_same_broken_image_counts_once(damaged):
    data = opened(damaged, **{"optim.batch": 10, "data.broken_limit": 3})
    for step in range(20):
        data.batch(step)
    assert len(data.broken) == 3


def test_where_all_images_are_broken_the_run_stops(tmp_path):
    members = [
        (n.replace("png", "jpg"), d[:40]) for i in range(4) for n, d in shard_files.sample(i)
    ]
    members = [(n, b'{"caption": "x"}' if n.endswith("json") else d) for n, d in members]
    for split in ("train", "val"):
        shard_files.write(tmp_path / f"data/{split}/0.tar", members)
    index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    with pytest.raises(ValueError, match=r"^4 images of .*train cannot be read, and"):
        opened(tmp_path, **{"optim.batch": 2}).batch(0)
    with pytest.raises(ValueError, match=r"val/0.tar/000000: the image cannot be read \(.*;"):
        list(opened(tmp_path, split="val", **{"optim.batch": 1}).pieces(4))


def test_a_training_that_reads_a_removed_shard_is_told(home, tmp_path):
    orders = [[((str(tmp_path / "gone.tar"), 0, 10), ("bicubic", False))], []]
    for workers in (0, 1):
        ahead = Ahead(lambda step: orders[min(step, 1)], 1, 16, 1, workers)
        with pytest.raises(ValueError, match=r"gone.tar is missing; copy it again"):
            ahead.get(0)
