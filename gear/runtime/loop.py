"""The training loop under all trainers: one job trains one run from one milestone to the next.

Resumed equals uninterrupted: the batch of a step, its dropout and its label drop are functions of
(seed, step), and the state holds everything else.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
import signal
import sys
import time
from pathlib import Path

import torch

from gear import config
from gear.runtime import checkpoint, provenance, rng
from gear.runtime.progress import Progress

COLLAPSED = 0.2  # codebook usage below which a window counts as collapsed


class Trainer:
    """What the loop needs of a stage. Subclasses fill the three dictionaries and define `step`."""

    def __init__(self, settings):
        self.settings = settings
        self.modules = {}  # name -> module, trained
        self.averages = {}  # name -> EMA of modules[name]
        self.optimizers = {}

    def step(self, batch, number):
        """One optimizer step on a Batch, `number` from 0. Returns {metric: 0-d tensor}."""
        raise AssertionError("a stage defines its step")

    def exports(self):
        """{prefix: module} of the milestone's weights: averages under the plain name."""
        live = {f"live.{k}": self.modules[k] for k in self.averages}
        plain = {k: v for k, v in self.modules.items() if k not in self.averages}
        return plain | live | {k: v.module for k, v in self.averages.items()}

    def state(self):
        return {
            "modules": {k: v.state_dict() for k, v in self.modules.items()},
            "averages": {k: v.module.state_dict() for k, v in self.averages.items()},
            "optimizers": {k: v.state_dict() for k, v in self.optimizers.items()},
        }

    def restore(self, state):
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, average in self.averages.items():
            average.module.load_state_dict(state["averages"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def setup(settings):
    """Threads and determinism of this process, before any tensor is made.

    On the CPU torch's operations here are deterministic as they are; the switch would only load
    the compiler, 6 s a process."""
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
    rng.seed_torch(settings.seed, "weights")


def digest(settings, inputs=()):
    """Which settings and input files (their hashes) a training state belongs to.

    How often it is saved does not count."""
    plain = dataclasses.asdict(settings)
    for name in ("threads", "log_every", "checkpoint_minutes"):
        plain["runtime"].pop(name)
    text = json.dumps([plain, sorted(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Segment:
    """A run's training from its milestone at `start` to the one at `stop`, in optimizer steps."""

    def __init__(self, trainer, data, output, start, stop, inputs=()):
        self.trainer, self.data, self.settings = trainer, data, trainer.settings
        self.output = Path(output)
        self.folder = self.output.parent
        self.start, self.stop = start, stop
        self.inputs = {str(p): provenance.sha256(p) for p in inputs}
        self.digest = digest(self.settings, self.inputs.values())
        self.step, self.history, self.status = start, [], "running"
        self.window = []  # metrics of the steps since the last report
        self.collapsed_at = None
        self.wall, self.cpu = time.monotonic(), time.process_time()
        self.interrupted = False

    # ---- state -----------------------------------------------------------------------------

    def resume(self):
        """Take up the run's latest state, or the previous milestone's, or start anew."""
        latest = self.folder / "latest.pt"
        if latest.exists():
            state = checkpoint.load_state(latest)
            if self.start <= state["step"] <= self.stop and self._take(state, latest):
                print(f"goes on from {latest} at step {self.step}", file=sys.stderr)
                return
        if self.start:
            path = self.folder / "state" / f"{self.start}.pt"
            self._take(checkpoint.load_state(path), path, required=True)

    def _take(self, state, path, required=False):
        if state["settings"] != self.digest:
            if required:
                raise ValueError(
                    f"{path} was trained with other settings or inputs; delete the step folders of "
                    f"{self.folder} to train the run anew."
                )
            print(f"{path} is of other settings or inputs and is not used", file=sys.stderr)
            return False
        self.trainer.restore(state["trainer"])
        self.step, self.history = state["step"], json.loads(state["history"])
        self.window = state.get("window", [])
        self.status, self.collapsed_at = state["status"], state["collapsed_at"]
        return True

    def save(self, path):
        checkpoint.save_state(
            path,
            {
                "trainer": self.trainer.state(),
                "settings": self.digest,
                "step": self.step,
                "history": json.dumps(self.history),
                "window": self.window,
                "status": self.status,
                "collapsed_at": self.collapsed_at,
            },
        )

    # ---- training --------------------------------------------------------------------------

    def run(self, name):
        """Train to `stop` and write the milestone. Raises SystemExit(143) after SIGTERM."""
        previous = signal.signal(signal.SIGTERM, self._interrupt)
        try:
            with checkpoint.run_lock(self.folder):
                self.resume()
                if self.status != "diverged":
                    self._train(name)
                self.finish()
        finally:
            signal.signal(signal.SIGTERM, previous)

    def _interrupt(self, *_):
        self.interrupted = True

    def _train(self, name):
        runtime = self.settings.runtime
        saved = time.monotonic()
        progress = Progress(
            name, self.step, self.stop, self.settings.optim.batch, self.folder / "metrics.jsonl"
        )
        self.status = "running"
        while self.step < self.stop and self.status == "running":
            rng.seed_torch(self.settings.seed, "dropout", self.step)
            metrics = self.trainer.step(self.data.batch(self.step), self.step)
            self.window.append({k: v.detach() for k, v in metrics.items()})
            self.step += 1
            if self.step % runtime.log_every == 0 or self.step == self.stop:
                self._report(self.window, progress)
                self.window = []
            if self.interrupted or time.monotonic() - saved > 60 * runtime.checkpoint_minutes:
                self.save(self.folder / "latest.pt")
                saved = time.monotonic()
                if self.interrupted:
                    print(f"stopped at step {self.step}; the state is saved", file=sys.stderr)
                    raise SystemExit(143)
        progress.close()

    def _report(self, window, progress):
        """Means over the window's steps that measured: one transfer from the device, then the
        guards."""
        names = list(dict.fromkeys(k for metrics in window for k in metrics))
        device = next(iter(window[-1].values())).device  # what was resumed is on the CPU
        values = [torch.stack([m[k].float().to(device) for m in window if k in m]) for k in names]
        means = dict(zip(names, torch.stack([v.mean() for v in values]).tolist(), strict=True))
        self.history.append({"step": self.step, **means})
        progress.report(self.step, means)
        bad = [k for k, v in means.items() if not math.isfinite(v)]
        if bad:
            where = f"steps {self.step - len(window) + 1} to {self.step}"
            if self.settings.runtime.on_nonfinite == "record":
                print(f"diverged in {where}: {', '.join(bad)} not finite", file=sys.stderr)
                self.status = "diverged"
                return
            raise ValueError(
                f"{', '.join(bad)} became non-finite in {where}; lower optim.lr_* or raise "
                "optim.warmup of this run, or set runtime.on_nonfinite: record to keep the row."
            )
        if self.collapsed_at is None and means.get("usage", 1.0) < COLLAPSED:
            self.collapsed_at = self.step
            print(
                f"warning: codebook usage {means['usage']:.3f} at step {self.step}; a higher "
                "loss.entropy or a lower learning rate of the tokenizer may help",
                file=sys.stderr,
            )

    # ---- results ---------------------------------------------------------------------------

    def finish(self):
        """The milestone's declared files, last of all; then `latest` is of no more use."""
        if self.status != "diverged":
            self.status = "finished"
        self.save(self.folder / "state" / f"{self.stop}.pt")
        checkpoint.save_weights(self.output / "weights.safetensors", self.trainer.exports())
        checkpoint.write_text(self.output / "curves.csv", curves(self.history))
        checkpoint.write_json(self.output / "run.json", self.record())
        (self.folder / "latest.pt").unlink(missing_ok=True)

    def record(self):
        return {
            "settings": dataclasses.asdict(self.settings),
            "difference": config.difference(self.settings),
            "steps": self.stop,
            "status": self.status,
            "collapsed_at": self.collapsed_at,
            "parameters": {
                name: sum(p.numel() for p in module.parameters())
                for name, module in self.trainer.modules.items()
            },
            "inputs": self.inputs,
            "wall_s": round(time.monotonic() - self.wall, 1),
            "cpu_s": round(time.process_time() - self.cpu, 1),
            **provenance.environment(),
        }


def curves(history):
    """The whole history as CSV: `step`, then every metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(k for row in history for k in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)
    return text.getvalue()
