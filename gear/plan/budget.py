"""What is left of a target in hours, disk and queue, at a device's measured throughput.

Hours are those of training and of drawing, at the FLOP/s of one device for each stage, and as if
several devices lost nothing. Validation, scores, pictures and analyses are counted as jobs alone.
"""

import math

from gear.files.mistakes import Mistake, did_you_mean
from gear.plan.costs import networks_of
from gear.plan.targets import is_made, lies
from gear.study.configfiles import read_checked
from gear.study.jobs import needs
from gear.study.needs import Need
from gear.study.stages import STAGES

FLOAT = 4  # bytes
SAVING = 5  # minutes at the end of a job's time, in which it saves
MINUTES = 60  # of a job whose study says nothing: the profile's default


def throughput(name, study):
    """{'label', 'measured', 'rates': {stage or 'draw': TFLOP/s}} of one of config/devices.yaml.

    Mistake: it is not there, or was not measured in this study."""
    devices = read_checked("devices")
    cure = (
        f"run python benchmarks/throughput.py --study {study.name} on it and put its lines into "
        "config/devices.yaml, or give --tflops."
    )
    if name not in devices:
        raise Mistake(f"no device '{name}' was measured. {did_you_mean(name, devices)} Or {cure}")
    rates = devices[name]["tflops"]
    if study.name not in rates:
        raise Mistake(f"device '{name}' was not measured in study '{study.name}'; {cure}")
    return devices[name] | {"rates": rates[study.name]}


class Budget:
    """What is left to do of one target.

    study: registry.Study; entries: gear.plan.report.entry of each run; wanted: targets.Wanted;
    rates: {stage or 'draw': TFLOP/s of one device}, of which 'draw' may be absent."""

    def __init__(self, study, entries, wanted, rates):
        self.study, self.wanted, self.rates = study, wanted, rates
        self.entries = {entry["run"]: entry for entry in entries}

    def disk(self, left=False):
        """Bytes of all that the target keeps, by kind, or of what is still to come of it; a run in
        training has two states more."""
        found = {"weights": 0, "training states": 0, "samples": 0}
        for entry in self.entries.values():
            parameters = entry["parameters"]
            averaged = sum(parameters[part] for part in STAGES[entry["stage"]].averages)
            count = len(entry["milestones"]) - left * len(entry["finished"])
            found["weights"] += FLOAT * count * (parameters["trained"] + averaged)
            found["training states"] += FLOAT * count * (3 * parameters["trained"] + averaged)
        for need in self.drawings() if left else self.wanted.of("samples"):
            images = self.study.sampler(need.sampler)["images"]
            tokens = self._tokens(need.checkpoint.run)
            found["samples"] += images * (FLOAT * tokens + 12)  # a label and a seed
        return found

    def _tokens(self, run):
        settings = self.study.runs[run].settings
        return (settings.data.resolution // settings.tokenizer.downsampling) ** 2

    def segments(self):
        """{checkpoint: device-hours} of the training that is left, in the registry's order."""
        left = {}
        for name, entry in self.entries.items():
            before = 0
            for milestone, steps in entry["milestones"].items():
                checkpoint = self.study.checkpoint(name, milestone)
                flops = (steps - before) * entry["batch"] * entry["flops_per_image"]
                hours = flops / (self.rates[entry["stage"]] * 1e12 * 3600)
                left[checkpoint] = 0.0 if is_made(self.study, checkpoint) else hours
                before = steps
        return left

    def drawings(self):
        """{Need of samples: device-hours, or None where the rate is unknown}, what is left."""
        left = {}
        for need in self._left("samples"):
            spec, run = self.study.sampler(need.sampler), self.study.runs[need.checkpoint.run]
            ar = networks_of(run, self.study)["ar"].flops["ar"]
            flops = spec["images"] * ar * (2 if spec.get("guidance", 1) != 1 else 1)
            rate = self.rates.get("draw")
            left[need] = flops / (rate * 1e12 * 3600) if rate else None
        return left

    def _left(self, kind):
        """The needs of a kind whose files are not there and were not saved."""
        return [n for n in self.wanted.of(kind) if not lies(f"{self.study.root}/{n}")]

    def others(self):
        """Jobs that are counted and not timed: validations, scores, pictures and analyses left.

        In a study whose `together` is true, one job draws and scores all of a checkpoint."""
        scores = self._left("scores")
        evaluated = {n.checkpoint for n in self.wanted.of("validation", "pictures")}
        validations = {c: f"{self.study.root}/{Need('validation', c)}" for c in evaluated}
        left = {c for c, path in validations.items() if not lies(path)}
        if self.study.spec["together"]:
            left |= {need.checkpoint for need in (*scores, *self.drawings())}
            scores = []
        return len(left) + len(scores) + len(self._left("decoded")) + len(self._left("analysis"))

    def starts(self, rule, hours):
        """(hours that a piece of work takes in the queue, times that it is started)."""
        need = needs(self.study, rule)
        devices = need["nodes"] * max(1, need["processes"] or need["gpus_per_node"])
        wall, minutes = hours / devices, need.get("runtime", MINUTES)
        return wall, math.ceil(60 * wall / max(minutes - SAVING, 1))

    def queue(self, wait=0.0):
        """Jobs, how often they start, and the longest chain of those that wait for each other.

        wait: minutes that each start spends in the queue. Without what prepares and imports."""
        segments, drawn, ends, starts = self.segments(), self.drawings(), {}, 0
        for checkpoint, hours in segments.items():
            run = self.study.runs[checkpoint.run]
            before = run.previous(checkpoint.milestone)
            source = self.study.checkpoint(run.name, before) if before else run.tokenizer
            end, chain = ends.get(source, (0.0, ()))
            if hours:
                wall, times = self.starts(f"train_{run.stage}", hours)
                starts += times
                end, chain = end + wall + times * wait / 60, (*chain, str(checkpoint))
            ends[checkpoint] = end, chain
        together = self.study.spec["together"]
        drawing = {}
        for need, hours in drawn.items():
            key = need.checkpoint, "" if together else need.sampler
            drawing[key] = drawing.get(key, 0.0) + (hours or 0.0)
        for (checkpoint, sampler), hours in drawing.items():
            end, chain = ends[checkpoint]
            wall, times = self.starts("evaluate" if together else "draw", hours)
            times = max(1, times)
            starts += 0 if together else times
            what = f"samples {sampler} of {checkpoint}".replace("  ", " ")
            ends[checkpoint, sampler] = end + wall + times * wait / 60, (*chain, what)
        hours, chain = max(ends.values(), default=(0.0, ()))
        jobs = sum(map(bool, segments.values())) + self.others() + (0 if together else len(drawn))
        return {
            "jobs": jobs,
            "starts": starts + self.others(),
            "hours": hours,
            "wait": wait,
            "chain": list(chain),
        }

    def summary(self, wait=0.0):
        """All of it, as it is printed by --json; hours None where no rate is known."""
        segments, drawn = self.segments(), self.drawings()
        timed = None not in drawn.values()
        return {
            "training": {
                "jobs": sum(map(bool, segments.values())),
                "hours": sum(segments.values()),
            },
            "drawing": {"samples": len(drawn), "hours": sum(drawn.values()) if timed else None},
            "not_timed": self.others(),
            "bytes": self.disk(),
            "queue": self.queue(wait),
        }


def described(found, label):
    """A summary for people; label: what one device is."""
    training, drawing, queue = (found[k] for k in ("training", "drawing", "queue"))
    yield f"not made or saved yet (changed settings are seen by snakemake -n), in hours of {label}:"
    yield f"  training   {training['hours']:12,.2f} h  {training['jobs']} jobs"
    hours = drawing["hours"]
    said = "  not measured" if hours is None else f"{hours:12,.2f} h"
    yield f"  drawing    {said}  {drawing['samples']} sets of samples"
    yield f"  validation, scores, pictures, analyses: {found['not_timed']} jobs, not timed"
    kept = ", ".join(f"{kind} {size / 1e9:,.2f} GB" for kind, size in found["bytes"].items())
    yield f"disk of all of it: {kept}"
    days = f" ({queue['hours'] / 24:,.1f} days)" if queue["hours"] > 48 else ""
    yield (
        f"queue: {queue['jobs']} jobs, besides those that prepare and import, started "
        f"{queue['starts']} times with the study's time limits and devices, which lose nothing to "
        "each other"
    )
    yield (
        f"  the longest chain takes {queue['hours']:,.2f} h{days}, with {queue['wait']:g} minutes "
        f"of waiting at each start{'' if hours is not None else ' and without drawing'}"
    )
    if queue["chain"]:
        yield f"  {' > '.join(queue['chain'])}"
