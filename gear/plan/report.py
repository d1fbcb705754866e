"""`gear plan`: the cost of a target; with --details each run's parameters, steps and FLOPs."""

import json
import math

from gear.files.mistakes import Mistake
from gear.plan.budget import Budget, throughput
from gear.plan.costs import cost
from gear.plan.targets import is_made, wanted
from gear.study import jobs
from gear.study.configfiles import read_checked
from gear.study.registry import Study
from gear.study.specs.world import lpips_weights
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
    """The numbers of one run up to its milestone `last`. FLOPs are those of training only."""
    costs = cost(run, study)
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
        "parameters": costs.pop("parameters"),
        "batch": run.settings.optim.batch,
        "steps": steps,
        "images": images,
        "milestones": milestones,
        "finished": [m for m in milestones if is_made(study, study.checkpoint(run.name, m))],
        **costs,
        "flops": images * costs["flops_per_image"],
    }


def sums(entries):
    return {
        "runs": len(entries),
        **{key: sum(e[key] for e in entries) for key in ("steps", "images", "flops")},
    }


def gather(study, target="all", device=None, wait=0.0):
    """The whole plan of a target, which --json prints.

    device: {'label', 'rates', ...} as gear.plan.budget.throughput returns it, or None.
    wait: minutes in the queue. Mistake: the study has no such target."""
    needed = wanted(study, target)
    entries = [entry(study.runs[name], last, study) for name, last in needed.runs.items()]
    budget = Budget(study, entries, needed, device["rates"] if device else {})
    plan = {
        "study": study.name,
        "title": study.spec["title"],
        "target": target,
        "counted": "training only, 2 FLOPs for each multiply-add",
        "runs": entries,
        "lpips": lpips_weights(study, needed.runs),
        "not_asked_for": [name for name in study.runs if name not in needed.runs],
        "stages": {s: sums([e for e in entries if e["stage"] == s]) for s in STAGES},
        "total": sums(entries),
        "bytes": budget.disk(),
    }
    if device:
        plan["device"] = device
        plan["budget"] = budget.summary(wait)
    return plan


def si(value):
    """A number with four digits and a prefix: 2056000000 -> '2.056 G'."""
    power = min(max(int(math.log10(value)) // 3, 0), len(PREFIXES) - 1) if value else 0
    return f"{value / 1000**power:.4g} {PREFIXES[power]}".rstrip()


def table(lines):
    """Lines of text with aligned columns.

    The first and the last column are aligned to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    last = len(widths) - 1
    for line in lines:
        cells = [
            text.ljust(width) if i in (0, last) else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def sizes(stage, entries):
    """Rows of a stage's runs: parameters by part, steps, images, milestones."""
    parts = STAGES[stage].trains
    yield (stage, "trained", *parts, "steps", "images", "  milestones")
    for run in entries:
        counts = [run["parameters"].get(part) for part in ("trained", *parts)]
        marked = [f"{m}*" if m in run["finished"] else m for m in run["milestones"]]
        yield (
            run["run"],
            *("-" if count is None else si(count) for count in counts),
            f"{run['steps']:,}",
            si(run["images"]),
            "  " + " ".join(marked),
        )


def costs(entries):
    """Rows of a stage's runs: FLOPs of an image by part, and in total."""
    parts = list(dict.fromkeys(part for run in entries for part in run["parts"]))
    yield ("FLOPs of an image", *parts, "all parts", "all images", "")
    for run in entries:
        flops = [run["parts"].get(part) for part in parts]
        flops = ["-" if count is None else si(count) for count in flops]
        yield (run["run"], *flops, si(run["flops_per_image"]), si(run["flops"]), "")


def composed(entries):
    """Lines that say which forward passes each part consists of, and in which runs."""
    kinds = {}
    for run in entries:
        for part, passes in run["made_of"].items():
            kinds.setdefault(part, {}).setdefault(passes, []).append(run["run"])
    for part, variants in kinds.items():
        for passes, (first, *more) in variants.items():
            others = f" and {len(more)} more" if more else ""
            runs = f" ({first}{others})" if len(variants) > 1 else ""
            yield f"  {part} = {passes}{runs}"


def _total(name, total):
    space = "" if total["flops"] >= 1000 else " "
    return (
        f"{name}: {total['runs']} runs, {total['steps']:,} steps, {si(total['images'])} images, "
        f"{si(total['flops'])}{space}FLOPs"
    )


def answer(plan):
    """Lines for people: what the target costs."""
    yield f"target {plan['target']} of study {plan['study']}: {plan['title']}"
    if "budget" in plan:
        yield from _remaining(plan["budget"], plan["device"])
    else:
        names = [
            name for name, d in read_checked("devices").items() if plan["study"] in d["tflops"]
        ]
        measured = f", or --device NAME (measured in this study: {', '.join(names)})"
        yield (
            "hours: add --tflops NUMBER (the TFLOP/s that one GPU sustains)"
            f"{measured if names else ''}"
        )
    kinds = ", ".join(f"{kind} {size / 1e9:,.2f} GB" for kind, size in plan["bytes"].items())
    yield f"disk of the whole target: {sum(plan['bytes'].values()) / 1e9:,.2f} GB ({kinds})"
    yield _total("training of the whole target", plan["total"])
    if plan["lpips"]:
        weights = " and ".join(f"{weight:g}" for weight in plan["lpips"])
        yield (
            f"weight of LPIPS in the tokenizers' loss: {weights} (paper 0.1, published code 1; "
            "docs/decisions.md says how to decide)"
        )


def _remaining(budget, device):
    """Lines: hours, the longest chain and the jobs of what is not made or saved yet."""
    training, drawing, queue = (budget[key] for key in ("training", "drawing", "queue"))
    unit = device.get("unit", "device")
    timed = drawing["hours"] is not None
    without = "" if timed else ", without drawing"
    hours = f"{drawing['hours']:,.2f} {unit}-hours" if timed else "not measured"
    total = training["hours"] + (drawing["hours"] or 0)
    yield f"still to make, in hours of {device['label']}:"
    yield f"  total: {total:,.2f} {unit}-hours{without}"
    yield f"  training: {training['hours']:,.2f} {unit}-hours in {training['jobs']} jobs"
    yield f"  drawing: {hours} for {drawing['samples']} sets of samples"
    days = f" ({queue['hours'] / 24:,.1f} days)" if queue["hours"] > 48 else ""
    counts = ", ".join(f"{kind} {n}" for kind, n in queue["devices"].items())
    yield f"  longest chain of jobs: {queue['hours']:,.2f} hours{days}{without}"
    yield f"    {unit}s of one job: {counts}; perfect scaling is assumed"
    yield f"    each start waits {queue['wait']:g} minutes in the queue (--wait)"
    if queue["chain"]:
        yield f"    {' > '.join(queue['chain'])}"
    yield f"  jobs: {queue['jobs']}, started {queue['starts']} times within the study's time limits"
    yield f"    without hours: {budget['not_timed']} (validation, scores, pictures, analyses)"
    yield "    not counted: jobs that prepare data or import weights"
    yield "    a made result with changed settings counts as made; snakemake -n lists it"


def details(plan):
    """Lines for people: each run with its networks, steps and FLOPs."""
    yield f"FLOPs: {plan['counted']}. A part consists of forward passes of its networks:"
    yield "the backward pass to the inputs counts as one more, that to the weights as another one."
    if any(run["finished"] for run in plan["runs"]):
        yield "* finished milestone"
    for stage, total in plan["stages"].items():
        entries = [run for run in plan["runs"] if run["stage"] == stage]
        for rows in (sizes(stage, entries), costs(entries)) if entries else ():
            yield ""
            yield from table(list(rows))
        yield from composed(entries)
        yield _total(stage, total)
    if plan["not_asked_for"] and plan["target"] == "all":
        yield ""
        yield "runs of config/runs.yaml that no table or figure of this study needs (not counted):"
        yield "  " + ", ".join(plan["not_asked_for"])


def text(plan, with_details=False):
    """Lines for people: the answer, then the runs if `with_details`."""
    yield from answer(plan)
    if with_details:
        yield ""
        yield from details(plan)
    else:
        yield "parameters, steps and FLOPs of each run: add --details"


def resources(study):
    """Lines: what the jobs of each rule ask SLURM for; - is the profile's default."""
    lines = [("rule", *ASKED.values(), "")]
    for rule in jobs.rules(study):
        needs = jobs.needs(study, rule)
        lines.append((rule, *(str(needs.get(key, "-")) for key in ASKED), ""))
    return table(lines)


def plan(
    name,
    results="results",
    target="all",
    device=None,
    tflops=None,
    wait=0.0,
    as_json=False,
    with_details=False,
):
    """Print the plan of a study's target.

    Mistake: the study, target or device does not exist; a number is out of range; both a device and
    TFLOP/s are given."""
    if tflops is not None and not 1e-6 <= tflops < math.inf:
        raise Mistake(f"--tflops is {tflops}; write the TFLOP/s that a GPU sustains, such as 100.")
    if not 0 <= wait < math.inf:
        raise Mistake(f"--wait is {wait}; write minutes, 0 or more.")
    if device and tflops:
        raise Mistake("--device has its own TFLOP/s; leave out --tflops.")
    if wait and not (device or tflops):
        raise Mistake("--wait is a part of the queue; add --device or --tflops.")
    study = Study(name, results)
    if tflops:
        label = f"one GPU that sustains {tflops:g} TFLOP/s (assumed, not measured)"
        device = {"label": label, "unit": "GPU", "rates": dict.fromkeys(STAGES, tflops)}
    elif device:
        device = throughput(device, study)
    content = gather(study, target, device, wait)
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(text(content, with_details)))
