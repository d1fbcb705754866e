"""Every reader of files returns a valid object or raises a Mistake of one sentence, in 2 seconds.

Small valid files are damaged by hypothesis (tests/helpers/damage.py), always in the same ways. What
was found is in docs/engineering.md. Each reader must also take the undamaged file.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import shutil
import warnings
from pathlib import Path

import damage
import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as safetensors

from gear import config, model
from gear.alignment.teachers.load import load_teacher
from gear.ar.load import load_ar
from gear.artifacts import records, store
from gear.artifacts.units import Contents, Saved
from gear.data.folder import manifest_digest
from gear.data.listing import Listing
from gear.data.transforms import training_pixels
from gear.evaluation import reference
from gear.evaluation.images import Archive
from gear.evaluation.score import load_samples
from gear.features import standin
from gear.files.mistakes import Mistake
from gear.files.reading import read_csv
from gear.foreign import source
from gear.metrics.clip_score import read_captions
from gear.metrics.protocol import PROTOCOLS
from gear.report import compare
from gear.report.figures import codebook, depth_similarity
from gear.report.files import Results
from gear.runtime.state import States, identity
from gear.study.configfiles import check_schema, read_yaml
from gear.study.registry import CONFIG, Study
from gear.tokenizer.load import load_tokenizer
from gear.weights import LAYOUTS, layouts

pytestmark = pytest.mark.slow
SETTINGS = config.build(config.difference(Study("smoke").runs["gear-l"].settings))
RECORD = {
    "settings": dataclasses.asdict(SETTINGS),
    "status": "finished",
    "steps": 3,
    "inputs": {"data/x": "0" * 64},
    "classes": ["a", "b"],
}
SHA = "ab" * 32
TRIED = 700  # inputs of a reader
FEW = 120  # of a slow one


def saved(state):
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


# ---- the readers: name -> ({file: content}, the damaged file, its damage, reader(folder)) --------


def weights():
    modules = {"tokenizer": tiny.tokenizer(SETTINGS), "ar": tiny.ar(SETTINGS)}
    return safetensors(
        {
            f"{part}.{key}": value.contiguous().clone()
            for part, module in modules.items()
            for key, value in module.state_dict().items()
        }
    )


def checkpoint_folder():
    return {"run.json": json.dumps(RECORD).encode(), "weights.safetensors": weights()}


def listing():
    lines = b"train/a/1.png\ntrain/b/2.png\nval/a/3.png\nval/b/4.png\n"
    manifest = {
        "path": "x",
        "images": {"train": {"a": 1, "b": 1}, "val": {"a": 1, "b": 1}},
        "classes": ["a", "b"],
        "listing": {"file": "files.txt.gz", "sha256": hashlib.sha256(lines).hexdigest()},
    }
    return {
        "manifest.json": json.dumps(manifest).encode(),
        "files.txt.gz": gzip.compress(lines, mtime=0),
    }


def read_listing(folder):
    for split in ("train", "val"):
        found = Listing(folder / "manifest.json", split, config.Data(path="x", classes=2))
        assert [found.path(i) for i in range(len(found))]


def state():
    return {
        "trainer": {"modules": {"net": {"w": torch.ones(2)}}, "averages": {}, "optimizers": {}},
        "identity": json.dumps(identity(SETTINGS)),
        "step": 3,
        "history": '[{"step": 2, "total": 1.5}]',
        "window": [{"total": torch.tensor(1.0)}],
        "status": "running",
        "seen": {"usage": 2},
        "spent": {"wall_s": 1.0, "cpu_s": 1.0, "attempts": 1},
    }


def read_state(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about odd files
        States(folder).newest(identity(SETTINGS), 0, 5)


def record_of_artifacts():
    job = {
        **{"rule": "draw", "code": "c", "params": ["p"], "software": "s", "seconds": 1.5},
        **{"inputs": {"in": SHA}, "outputs": {"results/x/out.npz": SHA}},
        "accepted": [{"code": "samples", "made_with": "0", "accepted": "1"}],
    }
    return {"jobs": [job]}


def read_saved(folder):
    found = Saved([str(folder / "results")])
    found.chosen(["results"])
    Contents(found).read(found.job_of)


def picture(kind):
    out = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(values).save(out, kind)
    return out.getvalue()


def read_picture(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PIL, about odd metadata
        assert training_pixels(folder / "x.png", 3, 16, (0.5, 0.5, 0.1)).shape == (16, 16, 3)


def own_reference():
    rows = np.ones((4, 2048), np.float32)
    return {
        **{"protocol": np.array("clean"), "weights": np.array("ab"), "count": np.array(4)},
        **{"size": np.array([8, 8]), "mu": rows[0], "sigma": np.eye(2048, dtype=np.float32)},
    }


def read_reference(folder):
    protocol = PROTOCOLS["clean"]
    reference.peek(folder / "x.npz", protocol)
    assert reference.read(folder / "x.npz", protocol, "ab").summary.count > 1


def read_public(folder):
    path = folder / "x.pt"
    for layout in LAYOUTS:
        try:
            layouts.find(source.read(path), layout, path)
        except Mistake as error:
            if "is not of --layout" not in str(error):
                raise


METRICS = {"demo": {"gfid": 1.5, "is": 2}, "codebook": {"usage": 0.5}, "likelihood": None}
LAYER = {"mean": [0.1, None], "sd": [0.1, None]}
ANALYSIS = {
    "layers": {name: LAYER for name in depth_similarity.PANELS},
    "teacher": {"moran": {"mean": 1.0, "sd": None}},
    "undefined": {},
}


def read_metrics(folder):
    results = Results(folder)
    for group, key in (("demo", "gfid"), ("codebook", "usage"), ("likelihood", "ntp")):
        value = results.value("x.json", group, key)
        assert value is None or value + 1 > value or value != value or abs(value) > 1e15


def read_analysis(folder):
    spec = {"rows": [{"file": "x.json", "label": "a"}]}
    depth_similarity._read(Results(folder), spec)


TABLE = (CONFIG.parent / "results/demo/tables/control.csv").read_bytes()[:1500].rpartition(b"\n")[0]
CURVES = ",".join(("step", *codebook.PANELS)) + "\n1,1,1,1,1,1,1\n2,1,1,1,1,1,1\n"
SMOKE = read_yaml(CONFIG / "studies/smoke.yaml")
DVC = b"outs:\n- path: a.npz\n  md5: %s\n  size: 5\n  hash: md5\n" % (b"ab" * 16)
SNAKEMAKE = {
    **{"record_format_version": 6, "rule": "r", "code": "c", "params": []},
    **{"software_stack_hash": "s", "shellcmd": f"restored {SHA} 5"},
}
SHAPE = {"channels": 1, "resolution": 8, "classes": 2}
IMAGES = {"arr_0": np.zeros((3, 4, 4, 3), np.uint8), "arr_1": np.arange(3)}
TOKENS = {name: np.arange(4) for name in ("tokens", "labels", "seeds")}
FEATURES = {name: np.ones((2, 3), np.float32) for name in ("pooled", "spatial", "probs")}


def read_study_file(folder):
    check_schema("studies", read_yaml(folder / "x.yaml"), "x.yaml")


def read_snakemake(folder):
    record = records.read("out")
    if record is not None:
        records.restored(record)


def read_checkpoint(folder):
    load_ar(folder)
    load_tokenizer(folder)
    model.find_tokenizer(folder)


def texts_of(content):
    return damage.damaged(content)


def states_of(content):
    return st.one_of(damage.damaged(saved(content)), damage.changed(content).map(saved))


READERS = {
    "study": (lambda: {}, "x.yaml", damage.texts(SMOKE), read_study_file),
    "yaml": (lambda: {}, "x.yaml", texts_of((CONFIG / "claims.yaml").read_bytes()[:600]),
             lambda f: read_yaml(f / "x.yaml")),
    "run.json": (checkpoint_folder, "run.json", damage.texts(RECORD), read_checkpoint),
    "weights": (checkpoint_folder, "weights.safetensors", texts_of(weights()), read_checkpoint),
    "manifest": (listing, "manifest.json",
                 damage.texts(json.loads(listing()["manifest.json"])), read_listing),
    "listing": (listing, "files.txt.gz", texts_of(listing()["files.txt.gz"]), read_listing),
    "digits": (lambda: {}, "manifest.json", damage.texts({"sha256": SHA}), manifest_digest),
    "tokens": (lambda: {}, "x.npz", damage.archives(TOKENS), lambda f: load_samples(f / "x.npz")),
    "images": (lambda: {}, "x.npz", damage.archives(IMAGES),
               lambda f: list(Archive(f / "x.npz").batches(2))),
    "reference": (lambda: {}, "x.npz", damage.archives(own_reference()), read_reference),
    "features": (lambda: {}, "reference.npz", damage.archives(FEATURES), standin.load_reference),
    "shape": (lambda: {"weights.safetensors": safetensors({"classifier.x": torch.ones(2)})},
              "run.json", damage.texts({"shape": SHAPE}), standin.load_network),
    "teacher": (lambda: {"weights.safetensors": safetensors({"teacher.x": torch.ones(2)})},
                "run.json",
                damage.texts({"spec": {"objective": "masked_patch"}, "shape": SHAPE | {
                    "patch": 4, "dim": 8, "layers": 2}}),
                lambda f: load_teacher(f, SETTINGS.data)),
    "paper": (lambda: {}, "x.csv", texts_of((CONFIG / "paper.csv").read_bytes()[:800]),
              lambda f: read_csv(f / "x.csv", ("table", "row", "value"))),
    "table": (lambda: {}, "tables/x.csv", texts_of(TABLE), compare._tables),
    "curves": (lambda: {}, "x.csv", texts_of(CURVES.encode()),
               lambda f: codebook._read(Results(f), "x.csv")),
    "metrics": (lambda: {}, "x.json", damage.texts(METRICS), read_metrics),
    "analysis": (lambda: {}, "x.json", damage.texts(ANALYSIS), read_analysis),
    "dvc": (lambda: {}, "x.dvc", texts_of(DVC), lambda f: store.outs(f / "x.dvc")),
    "dvc values": (lambda: {}, "x.dvc",
                   damage.texts({"outs": [{"path": "a", "md5": "ab" * 16, "size": 5}]}),
                   lambda f: store.outs(f / "x.dvc")),
    "provenance": (lambda: {}, "results/x.prov.json", damage.texts(record_of_artifacts()),
                   lambda f: read_saved(Path())),
    "snakemake": (lambda: {}, ".snakemake/metadata/b3V0", damage.texts(SNAKEMAKE), read_snakemake),
    "state": (lambda: {}, "latest.pt", states_of(state()), read_state),
    "public": (lambda: {}, "x.pt", states_of({"model": {"a": torch.ones(3), "b": torch.ones(2)}}),
               read_public),
    "captions": (lambda: {}, "x.json", damage.texts({"a.png": "one", "b.png": "two"}),
                 lambda f: read_captions(f / "x.json", 2, ["a.png", "b.png"])),
    "lines": (lambda: {}, "x.txt", texts_of(b"one\ntwo\n"),
              lambda f: read_captions(f / "x.txt", 2, ["a.png", "b.png"])),
    **{kind: (lambda: {}, "x.png", texts_of(picture(kind)), read_picture)
       for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")},
}  # fmt: skip
SLOW = ("run.json", "weights", "reference", "table", "curves")


@pytest.mark.parametrize("name", READERS)
def test_a_reader_returns_or_says_one_sentence(name, tmp_path, monkeypatch):
    files, damaged, damages, read = READERS[name]
    monkeypatch.chdir(tmp_path)
    for file, content in files().items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / damaged).parent.mkdir(parents=True, exist_ok=True)
    seen = []

    @settings(
        max_examples=FEW if name in SLOW else TRIED,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damages)
    def tried(content):
        (tmp_path / damaged).write_bytes(content)
        seen.append(damage.holds(lambda: read(tmp_path)))

    tried()
    print(f"{name}: {len(seen)} inputs, {sum(seen)} were still valid")
    assert len(seen) > 0 and sum(seen) < len(seen)
    shutil.rmtree(tmp_path)
