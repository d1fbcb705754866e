"""Hours, disk space and jobs that a target still needs, at the throughput of one device.

Only training and drawing have hours. The rates are FLOP/s of one device, one rate for each stage.
Several devices are assumed to scale perfectly. Validations, scores, pictures and analyses are
counted as jobs, without hours.
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
SAVING = 5  # minutes that a job reserves at the end of its time limit to save its state
MINUTES = 60  # time limit of a job where the study sets none: the profile's default


def throughput(name, study):
    """{'label', 'measured', 'rates': {stage or 'draw': TFLOP/s}} of one measured device.

    Mistake: config/devices.yaml has no such device, or has no rates of it for this study."""
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
    """The work and the disk space of one target.

    study: registry.Study; entries: gear.plan.report.entry of each run; target: targets.Wanted;
    rates: {stage or 'draw': TFLOP/s of one device}; 'draw' may be absent. `disk` needs no rates."""

    def __init__(self, study, entries, target, rates):
        self.study, self.target, self.rates = study, target, rates
        self.entries = {entry["run"]: entry for entry in entries}

    def disk(self, left=False):
        """{kind: bytes} of the target's files; left=True: only of those that are not made yet.

        A run in training needs space for two more states, which are not counted."""
        sizes = {"weights": 0, "training states": 0, "samples": 0}
        for entry in self.entries.values():
            parameters = entry["parameters"]
            averaged = sum(parameters[part] for part in STAGES[entry["stage"]].averages)
            count = len(entry["milestones"]) - left * len(entry["finished"])
            sizes["weights"] += FLOAT * count * (parameters["trained"] + averaged)
            sizes["training states"] += FLOAT * count * (3 * parameters["trained"] + averaged)
        for need in self.drawings() if left else self.target.of("samples"):
            images = self.study.sampler(need.sampler)["images"]
            tokens = self._tokens(need.checkpoint.run)
            sizes["samples"] += images * (FLOAT * tokens + 12)  # a label and a seed
        return sizes

    def _tokens(self, run):
        settings = self.study.runs[run].settings
        return (settings.data.resolution // settings.tokenizer.downsampling) ** 2

    def segments(self):
        """{checkpoint: device-hours} of the remaining training, in the registry's order."""
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
        """{Need of samples: device-hours, or None without a rate} of the remaining drawing."""
        left = {}
        for need in self._left("samples"):
            spec, run = self.study.sampler(need.sampler), self.study.runs[need.checkpoint.run]
            ar = networks_of(run, self.study)["ar"].flops["ar"]
            flops = spec["images"] * ar * (2 if spec.get("guidance", 1) != 1 else 1)
            rate = self.rates.get("draw")
            left[need] = flops / (rate * 1e12 * 3600) if rate else None
        return left

    def _left(self, kind):
        """The needs of a kind whose files neither exist nor were saved."""
        return [n for n in self.target.of(kind) if not lies(f"{self.study.root}/{n}")]

    def others(self):
        """The number of remaining jobs without hours: validations, scores, pictures, analyses.

        Where a study's `together` is true, one job draws and scores all samples of a checkpoint."""
        scores = self._left("scores")
        evaluated = {n.checkpoint for n in self.target.of("validation", "pictures")}
        validations = {c: f"{self.study.root}/{Need('validation', c)}" for c in evaluated}
        left = {c for c, path in validations.items() if not lies(path)}
        if self.study.spec["together"]:
            left |= {need.checkpoint for need in (*scores, *self.drawings())}
            scores = []
        return len(left) + len(scores) + len(self._left("decoded")) + len(self._left("analysis"))

    def devices(self, rule):
        """How many devices one job of a rule uses."""
        resources = needs(self.study, rule)
        return resources["nodes"] * max(1, resources["processes"] or resources["gpus_per_node"])

    def starts(self, rule, hours):
        """(wall-clock hours of a job, how often its time limit makes it start)."""
        wall, minutes = hours / self.devices(rule), needs(self.study, rule).get("runtime", MINUTES)
        return wall, math.ceil(60 * wall / max(minutes - SAVING, 1))

    def queue(self, wait=0.0):
        """The number of jobs and of starts, and the longest chain of jobs in wall-clock hours.

        Each job of a chain waits for the job before it. wait: minutes that each start spends in the
        queue. Jobs that prepare data or import weights are not counted."""
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
            samples = f"samples {sampler}" if sampler else "samples"
            end += wall + times * wait / 60
            ends[checkpoint, sampler] = end, (*chain, f"{samples} of {checkpoint}")
        hours, chain = max(ends.values(), default=(0.0, ()))
        jobs = sum(map(bool, segments.values())) + self.others() + (0 if together else len(drawn))
        return {
            "jobs": jobs,
            "starts": starts + self.others(),
            "hours": hours,
            "wait": wait,
            "chain": list(chain),
            "devices": self._devices_of_jobs(),
        }

    def _devices_of_jobs(self):
        """{stage or 'draw': devices of one job}."""
        rules = {entry["stage"]: f"train_{entry['stage']}" for entry in self.entries.values()}
        rules["draw"] = "evaluate" if self.study.spec["together"] else "draw"
        return {kind: self.devices(rule) for kind, rule in rules.items()}

    def summary(self, wait=0.0):
        """What --json prints as `budget`; the hours of drawing are None without a rate."""
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
