"""What the paper study asks a cluster for: a snapshot, so that a change of it is seen. And what
`gear plan` says that a study keeps."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

SNAPSHOT = Path(__file__).with_name("paper_jobs.txt")
ASKED = ("nodes", "gpu", "cpus_per_task", "mem_mb", "runtime")


def listed(text):
    """A line for each rule and what its jobs ask for, with their number."""
    found, rule = Counter(), None
    for line in text.splitlines():
        if match := re.match(r"(?:local)?rule (\w+):", line):
            rule = match[1]
        elif line.startswith("    resources: ") and rule:
            said = dict(part.split("=", 1) for part in line.split(": ", 1)[1].split(", "))
            asked = " ".join(f"{name}={said[name]}" for name in ASKED if name in said)
            found[f"{rule} {asked}".strip()] += 1
    return "".join(f"{count:4} {line}\n" for line, count in sorted(found.items()))


def test_the_paper_studys_jobs_are_these(checkout):
    status, text = checkout.forked("--profile", "slurm", "-n", "all_tables")
    assert status == 0, text[-3000:]
    assert listed(text) == SNAPSHOT.read_text()


def test_the_plan_knows_what_weights_and_samples_take(checkout):
    options = ("--results", "nothing", "--tflops", "1", "--json")
    status, text = checkout.run("gear", "plan", "--study", "smoke", *options)
    assert status == 0, text
    planned = json.loads(text[: text.rindex("}") + 1])["budget"]["bytes"]
    root = checkout.folder / "results/smoke"
    stages = [root / stage for stage in ("tokenizer", "joint", "ar", "t2i")]
    weights = [path for stage in stages for path in stage.rglob("weights.safetensors")]
    samples = [p for p in (root / "samples").rglob("*.npz") if "pictures" not in p.name]
    # small files, with headers and, of captions, with records
    for kind, paths, share in (("weights", weights, 0.2), ("samples", samples, 0.3)):
        size = sum(p.stat().st_size for p in paths)
        assert size == pytest.approx(planned[kind], rel=share), kind
