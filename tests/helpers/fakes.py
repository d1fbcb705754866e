"""Small fakes of the files that tables and figures are made from, and what is made of them."""

import csv
import hashlib
import json

import numpy as np

from gear.report.make import main
from gear.study.registry import Study
from gear.study.specs.tables import inputs

HEAD = (
    "table,row,run,step,steps,seed_n,sampler,protocol,metric,ours,ours_sd,paper,delta_paper,gain,"
    "source"
)
RECORD = {"guidance": 1.0, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "images": 1, "seed": 0,
          "prompts_sha256": "5e" * 32}  # fmt: skip
PROMPTS = ["3, bold, leaning left", "a bold three", "draw me a nine please"]
BOOK = {"usage": 0.9, "usage_entropy": 3.9, "perplexity": 49.0, "entropy": 3.2,
        "effective_size": 24.5, "top1": 0.2, "top10": 0.8}  # fmt: skip


def demo_study():
    """The demo study, with steps of its own: what the demo costs is tuned elsewhere."""
    study = Study("demo")
    for run in study.runs.values():
        for step, number in {"100k": 100, "400k": 400, "1500k": 600, "4000k": 800}.items():
            if run.stage == "ar" and step in run.steps:
                run.steps[step] = number
    return study


def noise(path):
    """A number in [0, 1) that depends on the path alone."""
    return int(hashlib.sha256(path.encode()).hexdigest()[:8], 16) / 2**32


def pictures(path):
    rng = np.random.default_rng(int(1e9 * noise(path)))
    originals = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8, 1)
    return {
        "samples": rng.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8),
        "labels": np.repeat([0, 1, 7], 8),
        "seeds": np.arange(24),
        "originals": originals,
        "reconstructions": 255 - originals,
    }


def prompted(path):
    """Pictures of three prompts, and of all digits in all words."""
    from gear.t2i.shown import shown

    rng = np.random.default_rng(int(1e9 * noise(path)))
    words = shown(["3, bold"] * 8)["words"].prompts
    return {
        "prompts": rng.integers(0, 256, (3, 6, 8, 8, 1), dtype=np.uint8),
        "prompts_prompts": np.array(PROMPTS),
        "prompts_unseen": np.array([False, False, True]),
        "words": rng.integers(0, 256, (len(words), 1, 8, 8, 1), dtype=np.uint8),
        "words_prompts": np.array(words),
        "words_unseen": np.zeros(len(words), bool),
    }


def followed(path):
    """The scores of pictures of captions, in both protocols and with their record."""
    text = {"fdd": 1 + noise(path), "precision": 0.7, "recall": 0.6, "density": 0.9,
            "coverage": 0.8, "mmd": 0.02}  # fmt: skip
    following = {"digit": 0.6 + noise(path) / 10, "stroke": 0.7, "slant": 0.6}
    following |= {f"{key}_shuffled": 0.1 for key in ("digit", "stroke", "slant")}
    record = RECORD | {"guidance": float(path.rpartition("cfg")[2].removesuffix(".json") or 1)}
    return {"demo_text": text, "fdd": text, "following": following, "record": record}


def analysis(path):
    """What an analysis holds, as far as the report reads it; 3 layers."""
    alike = [f"{m}_{level}" for m in ("cknna", "cka") for level in ("image", "patch")]
    layers = {
        m: {"mean": [noise(f"{path} {m} {i}") for i in range(3)], "sd": [0.01, 0.02, 0.03]}
        for m in (*alike, "moran", "fft_high")
    }
    return {
        "similarity": {f"{m}_{p}": noise(path + m + p) for m in alike for p in ("pre", "post")},
        "states": {f"{m}_{p}": noise(path + m + p) for m in alike for p in ("aligned", "last")},
        "layers": layers,
        "teacher": {"moran": {"mean": 0.4, "sd": 0.1}, "fft_high": {"mean": 0.3, "sd": 0.1}},
        "undefined": {},
    }


def content(path):
    """What the job that makes this file would write, in both protocols."""
    if path.startswith("analysis/"):
        return analysis(path)
    if path.endswith("run.json"):
        return {"parameters": {"ar": 123456, "tokenizer": 65432}, "collapsed_at": None}
    if path.endswith("validation.json"):
        reconstruction = {"rfid": 3 + noise(path), "psnr": 18.5, "ssim": 0.7, "l1": 0.11}
        return {
            "demo": reconstruction,
            "reconstruction": reconstruction,
            "codebook": BOOK,
            "likelihood": {"ntp": 2 + noise(path), "align": -0.5},
        }
    if path.startswith("metrics/t2i/"):
        return followed(path if "cfg" in path else f"{path}cfg")
    generation = {"gfid": 10 + noise(path), "sfid": 20.0, "is": 7.0, "precision": 0.7,
                  "recall": 0.6}  # fmt: skip
    again = generation | {"gfid": 30.0}
    return {"demo": generation, "adm": generation, "adm-aliased": again}


def fake(root, spec):
    """Every input of a spec that is not there yet."""
    for path in inputs(spec):
        target = root / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".npz"):
            made = prompted if path.startswith("samples/t2i/") else pictures
            np.savez(target, **made(path))
        elif path.startswith("t2i/") and path.endswith(".csv"):
            target.write_text("step,ntp,align_ar,grad_ar\n" + losses(path))
        elif path.endswith(".csv"):
            target.write_text(
                "step,ntp,top1,top10,entropy,effective_size,usage,perplexity,top100\n"
                "1,3,0.2,0.8,3.2,24.5,1,15,0.9\n5,2.9,,,,,,,\n"
                "10,2.8,0.25,0.82,3.1,22.2,0.75,11,0.95\n"
            )
        else:
            target.write_text(json.dumps(content(path)))


def losses(path):
    """Lines of losses that fall straight, faster where the run is GEAR's: at 600 steps NTP is 3
    and alignment −0.5; GEAR's NTP is 3 at 300 steps, and its alignment never −0.5."""
    fast, slow = (2, 0.9) if "gear" in path else (1, 1)
    steps = [1, *range(10, 610, 10)]
    return "".join(f"{s},{4 - fast * s / 600:.6g},{-0.5 * slow * s / 600:.6g},1\n" for s in steps)


def edit(root, path, group, **values):
    found = json.loads((root / path).read_text())
    found[group] |= values
    (root / path).write_text(json.dumps(found))


def lines(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def cell(root, name, row, metric, sampler=None):
    found = [
        line
        for line in lines(root / f"tables/{name}.csv")
        if line["row"] == row and line["metric"] == metric and sampler in (None, line["sampler"])
    ]
    assert len(found) == 1
    return found[0]


def make_table(root, spec):
    output = root / "tables" / spec["name"]
    main(["table", "--root", str(root), "--spec", json.dumps(spec), "--output", str(output)])
    return output.with_suffix(".md").read_text(), output.with_suffix(".tex").read_text()


def make_figure(root, spec, folder="figures"):
    output = root / folder / spec["name"]
    main(["figure", "--root", str(root), "--spec", json.dumps(spec), "--output", str(output)])
    return {p.name.partition(".")[2]: p for p in output.parent.glob(f"{spec['name']}.*")}
