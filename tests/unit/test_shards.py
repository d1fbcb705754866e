"""The index of captioned shards: what is a sample, what is counted, and what is refused.

The webdataset library reads the same shards as the other reader.
"""

import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import shard_files
from PIL import Image
from shard_files import sample

from gear import config
from gear.data import captions, digits, index, sets, shards, tars


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    shard_files.folder(root / "data", train=(1, 7, 100))
    index.prepare(root / "data", root / "manifest.json")
    return root


@pytest.fixture
def copy(home, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(home, tmp_path / "home")
    root = tmp_path / "home"
    index.prepare(root / "data", root / "manifest.json")
    return root


def opened(home, split="train", **changes):
    data = {"data.source": "shards", "data.path": str(home / "data"), "data.channels": 1}
    data |= {"data.resolution": shard_files.SIDE, "optim.batch": 1, "runtime.workers": 0}
    settings = config.build(data | changes)
    return sets.image_set(settings, split, home / "manifest.json", 1, 0)


def indexed(root, members):
    """(the train split's part of the manifest, its ShardSet) of one shard, beside 300 samples."""
    plain = [m for n in range(300) for m in sample(n, f"plain{n}")]
    shard_files.write(root / "data/train/0.tar", plain)
    shard_files.write(root / "data/train/1.tar", members)
    shard_files.write(root / "data/val/0.tar", sample(0))
    manifest = index.prepare(root / "data", root / "manifest.json")
    return manifest["splits"]["train"], opened(root)


# the other reader


def test_webdataset_reads_the_same_samples(tmp_path):
    import webdataset

    digits.prepare(tmp_path / "digits", size=16, train=120, val=40, seed=0)
    captions.make(tmp_path / "digits", tmp_path / "data", seed=1)
    index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    for split, count in (("train", 120), ("val", 40)):
        paths = sorted(str(p) for p in (tmp_path / "data" / split).glob("*.tar"))
        read = list(webdataset.WebDataset(paths, shardshuffle=False))
        ours = opened(tmp_path, split)
        assert len(ours) == len(read) == count
        assert [ours.index.key(n) for n in range(count)] == [s["__key__"] for s in read]
        assert ours.captions(0, count) == [json.loads(s["json"])["caption"] for s in read]
        pixels = [np.asarray(Image.open(io.BytesIO(s["png"]))) for s in read]
        assert np.array_equal(ours.take(range(count))[:, 0], np.stack(pixels))


def test_webdatasets_own_shards_are_read(tmp_path):
    import webdataset

    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        with webdataset.TarWriter(str(tmp_path / "data" / split / "0.tar")) as writer:
            for n in range(5):
                key = f"a folder/{'long' * 40}-{n}"  # longer than a header's 100 bytes
                record = {"caption": shard_files.caption(n), "caption_type": "long"}
                writer.write({"__key__": key, "json": record, "png": shard_files.picture(n)})
    index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    data = opened(tmp_path)
    assert data.captions(0, 5) == [shard_files.caption(n) for n in range(5)]
    assert [data.index.key(n) for n in range(5)] == [
        f"a folder/{'long' * 40}-{n}" for n in range(5)
    ]
    assert [shard_files.number_of(x) for x in data.take(range(5))] == [0, 1, 2, 3, 4]


# the index


def test_the_manifest_names_shards_and_counts(home):
    manifest = json.loads((home / "manifest.json").read_text())
    train = manifest["splits"]["train"]
    assert manifest["path"] == str(home / "data") and train["samples"] == 108
    assert [(s["name"], s["samples"]) for s in train["shards"]] == [
        ("000.tar", 1),
        ("001.tar", 7),
        ("002.tar", 100),
    ]
    assert train["shards"][1]["bytes"] == (home / "data/train/001.tar").stat().st_size
    assert train["skipped"] == {} == train["not_read"] and not (home / "skipped.txt").read_text()


def test_the_index_has_the_places_of_the_members(home):
    assert isinstance(opened(home).index.rows, np.memmap)  # 100 million rows are 2.8 GB
    rows = np.load(home / "train.npy")
    assert rows.dtype == tars.ROW and rows.itemsize == 28 and len(rows) == 108
    with tarfile.open(home / "data/train/002.tar") as tar:
        members = tar.getmembers()
    for row, text, image in zip(rows[8:], members[::2], members[1::2], strict=True):
        assert (row["json"], row["json_size"]) == (text.offset_data, text.size)
        assert (row["image"], row["image_size"]) == (image.offset_data, image.size)


def test_processes_find_the_same(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(index, "SMALL", 0)
    index.prepare(home / "data", tmp_path / "manifest.json")
    for name in ("manifest.json", "train.npy", "val.npy", "skipped.txt"):
        assert (tmp_path / name).read_bytes() == (home / name).read_bytes()
    assert "5/5 shards 100%  113 samples" in capsys.readouterr().err


def test_a_shard_copied_later_is_the_same(copy):
    for path in (copy / "data").rglob("*.tar"):
        path.write_bytes(path.read_bytes())  # another time
    assert opened(copy).caption(3) == shard_files.caption(3)


def test_the_command_says_what_it_found(home, tmp_path, capsys, monkeypatch):
    arguments = ["--path", str(home / "data"), "--output", str(tmp_path / "m.json"), "--val", "5"]
    monkeypatch.setattr(sys, "argv", ["shards", *arguments])
    shards.main()
    out = capsys.readouterr().out
    assert out == "train: 108 samples in 3 shards\nval: 5 samples in 2 shards\n"
    monkeypatch.setattr(sys, "argv", ["shards", *arguments[:-1], "6"])
    with pytest.raises(SystemExit, match=r"val holds 5 samples, but 6 are expected; complete the"):
        shards.main()


def test_the_processes_import_no_torch():
    code = "import sys, gear.data.index, gear.data.captions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# shards that are refused


def cut(data):
    return data[: len(data) // 2 + 100]


def cut_between_members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return data[: tar.getmembers()[2].offset]


def damaged_header(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        place = tar.getmembers()[4].offset
    return data[:place] + b"x" * 20 + data[place + 20 :]


NOT_SHARDS = {
    "cut off": (cut, r"001.tar is cut off.*; copy it again, or remove it"),
    "cut off between members": (cut_between_members, r"001.tar is cut off: a tar's last block is"),
    "empty": (lambda _: b"", r"001.tar is empty; copy it again"),
    "zipped": (
        gzip.compress,
        r"001.tar is no tar file \(.*\); a shard is a tar that is not",
    ),
    "text": (lambda _: b"hello\n" * 500, r"001.tar is no tar file \("),
    "short": (lambda _: b"hello\n", r"001.tar is no tar file \("),
    "a picture": (lambda _: shard_files.picture(3), r"001.tar is no tar file \("),
    "damaged": (damaged_header, r"001.tar is damaged at byte \d+; copy it again"),
    "two tars": (lambda data: data + data, r"001.tar goes on after a tar's end at byte \d+; make"),
    "without members": (lambda _: bytes(10240), r"001.tar holds no samples .*; remove it"),
}


@pytest.mark.parametrize("kind", NOT_SHARDS)
def test_a_file_that_is_no_whole_shard_is_named(copy, kind):
    change, said = NOT_SHARDS[kind]
    path = copy / "data/train/001.tar"
    path.write_bytes(change(path.read_bytes()))
    before = (copy / "train.npy").read_bytes()
    with pytest.raises(ValueError, match=said) as error:
        index.prepare(copy / "data", copy / "manifest.json")
    assert "\n" not in str(error.value)
    assert (copy / "train.npy").read_bytes() == before
    assert not list(copy.glob(".*"))  # no temporary files


def test_a_shard_that_is_a_folder_or_cannot_be_read_is_named(copy):
    (copy / "data/val/002.tar").mkdir()
    with pytest.raises(ValueError, match=r"002.tar is a folder and no file; copy it again"):
        index.prepare(copy / "data", copy / "manifest.json")


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"data.path: .*/data is no folder; put the shards there"):
        index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    (tmp_path / "data/train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"train holds no shards \(\*.tar\); put them there"):
        index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    (tmp_path / "data/train/0.tar.gz").touch()
    line = tmp_path / "data/train/a\nb.tar"
    line.touch()
    with pytest.raises(ValueError, match=r"holds 'a\\nb.tar', whose name is no plain text; rename"):
        index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    line.unlink()
    with pytest.raises(ValueError, match=r"holds no shards \(\*.tar\), but 0.tar.gz; put them"):
        index.prepare(tmp_path / "data", tmp_path / "manifest.json")
    shard_files.write(tmp_path / "data/train/0.tar", sample(0))
    with pytest.raises(ValueError, match=r"data/val does not exist; put the shards there"):
        index.prepare(tmp_path / "data", tmp_path / "manifest.json")


# members that are no sample


FAULTS = {
    "json without image": sample(7)[:1],
    "image without json": sample(7)[1:],
    "two images": [*sample(7), ("000007.jpg", shard_files.picture(7, "jpeg"))],
    "two images of one kind": [*sample(7), sample(7)[1]],
    "key that is there twice": sample(1, "a") + sample(2, "b") + sample(3, "a"),
    "json that cannot be read": [("a.json", b"{caption"), ("a.png", shard_files.picture(1))],
    "image that is empty": [sample(7)[0], ("000007.png", b"")],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sample_that_cannot_be_used_is_counted_and_listed(tmp_path, fault):
    own, data = indexed(tmp_path, FAULTS[fault] + sample(9, "last"))
    reason = fault.removesuffix(" of one kind")
    assert own["skipped"] == {reason: 1}
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert len(lines) == 1 and lines[0].startswith("train/1.tar\t") and lines[0].endswith(reason)
    assert data.caption(len(data) - 1) == shard_files.caption(9)
    assert len(data) == 301 + (2 if "twice" in fault else 0)


def test_of_a_key_that_is_there_twice_the_first_is_kept(tmp_path):
    _, data = indexed(tmp_path, FAULTS["key that is there twice"])
    assert [data.index.key(n) for n in (300, 301)] == ["a", "b"]
    assert data.captions(300, 302) == [shard_files.caption(1), shard_files.caption(2)]


def test_the_same_key_in_two_shards_is_two_samples(tmp_path):
    _, data = indexed(tmp_path, sample(5, "plain5"))
    assert len(data) == 301


def test_members_apart_from_their_key_are_counted(tmp_path):
    (text, image), other = sample(7), sample(8)
    own, data = indexed(tmp_path, [text, *other, image])
    assert own["skipped"] == {
        "json without image": 1,
        "image without json, apart from its key": 1,
    }
    assert len(data) == 301


def test_members_that_are_no_part_of_a_sample_are_counted(tmp_path, capsys):
    text, image = sample(7)
    others = [("000007.txt", b"x"), ("000007.cls.bak", b""), ("README", b"x"), ("._7.json", b"x")]
    own, data = indexed(tmp_path, [text, *others, image])
    assert own["not_read"] == {".txt": 1, ".cls.bak": 1, "without an ending": 1, "hidden": 1}
    assert len(data) == 301 and data.caption(300) == shard_files.caption(7)
    shards.say("train", own)
    assert "members that are no part of a sample: 1 .cls.bak, 1 .txt" in capsys.readouterr().out


def test_links_and_folders_are_no_samples(tmp_path):
    path = tmp_path / "data/train/0.tar"
    shard_files.folder(tmp_path / "data", train=(200,))
    with tarfile.open(path, "w") as tar:
        link, folder = tarfile.TarInfo("a.json"), tarfile.TarInfo("b.png")
        link.type, link.linkname, folder.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.DIRTYPE
        tar.addfile(link)
        tar.addfile(folder)
        for name, data in sample(3):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    found = tars.examine(path)
    assert len(found.rows) == 1 and found.ignored == {"link or device": 1, "folder": 1}


def test_more_than_a_hundredth_is_refused(tmp_path):
    broken = [m for n in range(4) for m in sample(n, f"x{n}")[:1]]
    with pytest.raises(ValueError) as error:
        indexed(tmp_path, broken + sample(9))
    said = str(error.value)
    assert "4 of 305 samples cannot be used (4 json without image), more than 1%" in said
    assert f"correct what {tmp_path}/skipped.txt lists" in said
    assert (tmp_path / "skipped.txt").read_text().count("\n") == 4
    assert not (tmp_path / "manifest.json").exists()


# captions


CAPTIONS = {
    "null": ({"caption": None}, "", "empty"),
    "empty": ({"caption": ""}, "", "empty"),
    "blank": ({"caption": " \n"}, "", "empty"),
    "a number": ({"caption": 7}, "", "no text"),
    "a list": ({"caption": ["a"]}, "", "no text"),
    "of 10,000 characters": ({"caption": "word " * 2000}, "word " * 2000, None),
    "of other scripts": ({"caption": "数字の七 مرحبا 🙂"}, "数字の七 مرحبا 🙂", None),
    "with NUL": ({"caption": "a\0b"}, "a\0b", None),
    "with half a pair": ({"caption": "a\ud83d b"}, "a\ufffd b", None),
}


@pytest.mark.parametrize("kind", CAPTIONS)
def test_a_caption_of_any_kind(tmp_path, kind, capsys):
    record, text, counted = CAPTIONS[kind]
    own, data = indexed(tmp_path, sample(7, **record))
    assert own["skipped"] == {} and data.caption(300) == text
    assert text.encode() is not None
    assert own["unconditional"] == {why: int(why == counted) for why in ("empty", "no text")}
    assert shard_files.number_of(data.take([300])[0]) == 7  # its image is used
    shards.say("train", own)
    assert capsys.readouterr().out.count("trained as unconditional") == (counted is not None)


def test_a_caption_that_is_missing_is_empty(tmp_path):
    own, data = indexed(tmp_path, [("a.json", b"{}"), ("a.png", shard_files.picture(7))])
    assert own["unconditional"] == {"empty": 1, "no text": 0} and data.caption(300) == ""


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe\x00", b"[" * 10**5, b"1" * 5000])
def test_bytes_that_are_no_sample_of_json(data):
    with pytest.raises(ValueError):
        tars.caption_of(data)


# an index that is not of these shards


def test_a_changed_shard_is_refused_when_it_is_opened(copy):
    path = copy / "data/train/002.tar"
    content = bytearray(path.read_bytes())
    data = opened(copy)
    assert data.caption(0)  # of another shard
    place = int(data.index.rows[8]["json"])
    content[place + 13 : place + 17] = b"XXXX"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"002.tar has changed since it was indexed; run prepare_"):
        data.caption(9)
    path.write_bytes(bytes(content) + bytes(512))
    with pytest.raises(ValueError, match=r"002.tar has changed since it was indexed"):
        opened(copy).take([9])
    path.unlink()
    with pytest.raises(ValueError, match=r"002.tar is missing; copy it again"):
        opened(copy).caption(9)


def test_an_index_that_is_missing_or_of_another_manifest_is_refused(copy, home):
    (copy / "train.npy").write_bytes((copy / "val.npy").read_bytes())
    with pytest.raises(ValueError, match=r"train.npy is not the index that its manifest"):
        opened(copy)
    (copy / "train.npy").unlink()
    with pytest.raises(ValueError, match=r"train.npy is missing; make it again with the"):
        opened(copy)
    with pytest.raises(ValueError, match=r"manifest.json is of .*, but data.path is elsewhere;"):
        sets.image_set(
            config.build({"data.source": "shards", "data.path": "elsewhere"}),
            *("val", home / "manifest.json", 1, 0),
        )


def test_a_manifest_of_another_kind_is_refused(copy):
    for content, said in (
        ({"path": "x", "images": {}}, r"is of another kind of data than shards; remove it"),
        ({"path": str(copy / "data"), "splits": {"train": {}}}, r"there is no 'shards'; remove it"),
    ):
        (copy / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=said):
            opened(copy)


def test_settings_that_do_not_fit_shards_are_named(home):
    with pytest.raises(ValueError, match="data.hold is memory, but shards are streamed; set data"):
        opened(home, **{"data.hold": "memory"})
    settings = config.build({"data.source": "shards", "data.path": str(home / "data")})
    with pytest.raises(ValueError, match="data.source is shards, .* give its manifest.json"):
        sets.validation_set(settings, None)
