"""`gear plan`: every run of a study with its parameters, images, steps, milestones and FLOPs."""

import json
import math

from gear.files.mistakes import Mistake
from gear.plan.budget import Budget, described, throughput
from gear.plan.costs import cost
from gear.plan.targets import is_made, wanted
from gear.study import jobs
from gear.study.registry import Study
from gear.study.stages import STAGES

ASKED = {  # what a job asks SLURM for, of one node
    "nodes": "nodes",
    "gpus_per_node": "GPUs",
    "cpus_per_task": "cores",
    "mem_mb": "MB",
    "runtime": "minutes",
}
PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")


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
        "tokenizer": str(run.tokenizer) if run.tokenizer else None,
        "parameters": found.pop("parameters"),
        "batch": run.settings.optim.batch,
        "steps": steps,
        "images": images,
        "milestones": milestones,
        "finished": [m for m in milestones if is_made(study, study.checkpoint(run.name, m))],
        **found,
        "flops": images * found["flops_per_image"],
    }


def sums(entries):
    return {
        "runs": len(entries),
        **{key: sum(e[key] for e in entries) for key in ("steps", "images", "flops")},
    }


def gather(study, target="all", device=None, wait=0.0):
    """All of the plan of a target, as it is printed by --json.

    device: {'label', 'rates', ...} as of gear.plan.budget.throughput, or None; wait: minutes."""
    found = wanted(study, target)
    entries = [entry(study.runs[name], last, study) for name, last in found.runs.items()]
    plan = {
        "study": study.name,
        "title": study.spec["title"],
        "target": target,
        "counted": "training alone, 2 FLOPs for each multiply-add",
        "runs": entries,
        "not_asked_for": [name for name in study.runs if name not in found.runs],
        "stages": {s: sums([e for e in entries if e["stage"] == s]) for s in STAGES},
        "total": sums(entries),
    }
    if device:
        plan["device"] = device
        plan["budget"] = Budget(study, entries, found, device["rates"]).summary(wait)
    return plan


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
    parts = STAGES[stage].trains
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
    """What each part is made of; where runs differ, which of them."""
    kinds = {}
    for found in entries:
        for part, made in found["made_of"].items():
            kinds.setdefault(part, {}).setdefault(made, []).append(found["run"])
    for part, ways in kinds.items():
        for made, (first, *more) in ways.items():
            runs = f" ({first}{f' and {len(more)} more' if more else ''})" if len(ways) > 1 else ""
            yield f"  {part} = {made}{runs}"


def _total(name, found):
    return (
        f"{name}: {found['runs']} runs, {found['steps']:,} steps, {si(found['images'])} images, "
        f"{si(found['flops'])}{'' if found['flops'] >= 1000 else ' '}FLOPs"
    )


def text(found):
    """The plan for people."""
    yield f"target {found['target']} of study {found['study']}: {found['title']}"
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
    if found["not_asked_for"] and found["target"] == "all":
        yield "in the registry, but in no table or figure of this study, and not counted:"
        yield "  " + ", ".join(found["not_asked_for"])
    yield _total("all", found["total"])
    if "budget" in found:
        yield from described(found["budget"], found["device"]["label"])


def resources(study):
    """A line for each rule of a study: what its jobs ask SLURM for; - is the profile's default."""
    lines = [("rule", *ASKED.values(), "")]
    for rule in jobs.rules(study):
        needs = jobs.needs(study, rule)
        lines.append((rule, *(str(needs.get(key, "-")) for key in ASKED), ""))
    return table(lines)


def plan(name, results="results", target="all", device=None, tflops=None, wait=0.0, as_json=False):
    """Print the plan of a study's target. Mistake: no such study, target or device; a number
    that is none; both a device and TFLOP/s."""
    if tflops is not None and not 0 < tflops < math.inf:
        raise Mistake(f"--tflops is {tflops}; write the TFLOP/s that a GPU sustains, above 0.")
    if not 0 <= wait < math.inf:
        raise Mistake(f"--wait is {wait}; write minutes, 0 or more.")
    if device and tflops:
        raise Mistake("--device has its own TFLOP/s; leave out --tflops.")
    if wait and not (device or tflops):
        raise Mistake("--wait is a part of the queue; add --device or --tflops.")
    study = Study(name, results)
    if tflops:
        label = f"one device that sustains {tflops:g} TFLOP/s (assumed, not measured)"
        device = {"label": label, "rates": dict.fromkeys(STAGES, tflops)}
    elif device:
        device = throughput(device, study)
    found = gather(study, target, device, wait)
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else "\n".join(text(found)))
