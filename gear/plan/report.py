"""`gear plan`: every run of a study with its parameters, images, steps, milestones and FLOPs."""

import json
import math
from pathlib import Path

from gear.jobs import analyses
from gear.plan.costs import TRAINED, cost
from gear.registry import STAGES, Study

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
SECONDS = 86400  # of a day


def asked(study):
    """{run: its last milestone} that the study's tables and figures ask for, directly or because
    another run starts from its tokenizer; in the order of the registry."""
    found = {}

    def ask(name, step):
        order = list(study.runs[name].steps)
        found[name] = max(found.get(name, step), step, key=order.index)
        source = study.runs[name].tokenizer
        if source:
            ask(*source.split("@"))

    for name, step in study.evaluations():
        ask(name, step)
    for checkpoint in analyses(study):
        ask(*checkpoint.split("/")[1:])
    for figure in study.figures.values():
        for name, step in study.checkpoints_of(figure):
            ask(name, step)
    return {name: found[name] for name in study.runs if name in found}


def entry(run, last, study):
    """One run up to its milestone `last`, in plain numbers. FLOPs are of training alone."""
    found = cost(run, study)
    names = list(run.steps)
    milestones = {name: run.steps[name] for name in names[: names.index(last) + 1]}
    steps = run.steps[last]
    images = steps * run.settings.optim.batch
    return {
        "run": run.name,
        "stage": run.stage,
        "published": run.published,
        "seed": run.settings.seed,
        "tokenizer": run.tokenizer,
        "parameters": found.pop("parameters"),
        "batch": run.settings.optim.batch,
        "steps": steps,
        "images": images,
        "milestones": milestones,
        "finished": [m for m in milestones if Path(study.path(run.name, m), "run.json").is_file()],
        **found,
        "flops": images * found["flops_per_image"],
    }


def sums(entries):
    return {
        "runs": len(entries),
        **{key: sum(e[key] for e in entries) for key in ("steps", "images", "flops")},
    }


def gather(study, tflops=None):
    """All of the plan, as it is printed by --json."""
    last = asked(study)
    entries = [entry(study.runs[name], step, study) for name, step in last.items()]
    stages = {s: sums([e for e in entries if e["stage"] == s]) for s in STAGES}
    total = sums(entries)
    if tflops is not None:
        for found in (*stages.values(), total):
            found["gpu_days"] = found["flops"] / (tflops * 1e12 * SECONDS)
    return {
        "study": study.name,
        "title": study.spec["title"],
        "counted": "training alone, 2 FLOPs for each multiply-add",
        "tflops": tflops,
        "runs": entries,
        "not_asked_for": [name for name in study.runs if name not in last],
        "stages": stages,
        "total": total,
    }


def si(value):
    """Four figures and a prefix: 2056000000 -> '2.056 G'."""
    power = min(max(int(math.log10(value)) // 3, 0), len(PREFIXES) - 1) if value else 0
    return f"{value / 1000**power:.4g} {PREFIXES[power]}".rstrip()


def table(lines):
    """Lines of text with aligned columns: first and last to the left, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    last = len(widths) - 1
    for line in lines:
        cells = [
            text.ljust(width) if i in (0, last) else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def sizes(stage, entries):
    """Lines of a stage's runs: parameters by part, steps, images, milestones."""
    parts = TRAINED[stage]
    yield (stage, "trained", *parts, "steps", "images", "  milestones")
    for found in entries:
        counts = [found["parameters"].get(part) for part in ("trained", *parts)]
        marked = [m + "*" * (m in found["finished"]) for m in found["milestones"]]
        yield (
            found["run"],
            *("-" if count is None else si(count) for count in counts),
            f"{found['steps']:,}",
            si(found["images"]),
            "  " + " ".join(marked),
        )


def costs(entries):
    """Lines of a stage's runs: FLOPs of an image by part, and in total."""
    parts = list(dict.fromkeys(part for found in entries for part in found["parts"]))
    yield ("FLOPs of an image", *parts, "all parts", "all images", "")
    for found in entries:
        flops = [found["parts"].get(part) for part in parts]
        flops = ["-" if count is None else si(count) for count in flops]
        yield (found["run"], *flops, si(found["flops_per_image"]), si(found["flops"]), "")


def composed(entries):
    """What each part is made of; where runs differ, which of them. Then the notes."""
    kinds = {}
    for found in entries:
        for part, made in found["made_of"].items():
            kinds.setdefault(part, {}).setdefault(made, []).append(found["run"])
    for part, ways in kinds.items():
        for made, (first, *more) in ways.items():
            runs = f" ({first}{f' and {len(more)} more' if more else ''})" if len(ways) > 1 else ""
            yield f"  {part} = {made}{runs}"
    notes = {note: found["run"] for found in reversed(entries) for note in found["notes"]}
    yield from (f"  {run}: {note}" for note, run in notes.items())


def _total(name, found):
    said = (
        f"{name}: {found['runs']} runs, {found['steps']:,} steps, {si(found['images'])} images, "
        f"{si(found['flops'])}FLOPs"
    )
    return said + (f", {found['gpu_days']:,.1f} GPU-days" if "gpu_days" in found else "")


def text(found):
    """The plan for people."""
    yield f"study {found['study']}: {found['title']}"
    yield f"FLOPs: {found['counted']}; a part is made of so many forward passes of its networks"
    yield "(backward costs one more to the inputs and one more to the weights)"
    if any(e["finished"] for e in found["runs"]):
        yield "* finished milestone"
    for stage, total in found["stages"].items():
        entries = [e for e in found["runs"] if e["stage"] == stage]
        for lines in (sizes(stage, entries), costs(entries)) if entries else ():
            yield ""
            yield from table(list(lines))
        yield from composed(entries)
        yield _total(stage, total)
    yield ""
    if found["not_asked_for"]:
        yield "in the registry, but in no table or figure of this study, and not counted:"
        yield "  " + ", ".join(found["not_asked_for"])
    yield _total("all", found["total"])
    if found["tflops"]:
        yield f"GPU-days at {found['tflops']:g} TFLOP/s sustained"


def plan(name, results="results", tflops=None, as_json=False):
    """Print the plan of a study. ValueError: no such study, tflops not above 0."""
    if tflops is not None and not 0 < tflops < math.inf:
        raise ValueError(f"--tflops is {tflops}; write the TFLOP/s that a GPU sustains, above 0.")
    found = gather(Study(name, results), tflops)
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else "\n".join(text(found)))
