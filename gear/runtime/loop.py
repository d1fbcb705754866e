"""The training loop under all trainers: one job trains one run from one milestone to the next.

Resumed equals uninterrupted: the batch of a step, its dropout and its label drop are functions of
(seed, step), and the state holds everything else. Under torchrun every process has its share of
each batch; rank 0 alone writes.
"""

import csv
import dataclasses
import io
import json
import math
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from gear import config
from gear.runtime import checkpoint, distributed, provenance, rng
from gear.runtime.progress import Progress, lines, say
from gear.runtime.state import States, identity

COLLAPSED = 0.2  # codebook usage below which a window counts as collapsed
GRACE = 300  # seconds before the end of the job's time at which it saves, at most a tenth of it


class Trainer:
    """What the loop needs of a stage. Subclasses fill the three dictionaries and define `step`."""

    def __init__(self, settings):
        self.settings = settings
        self.device = distributed.device()
        self.modules = {}  # name -> module, trained
        self.averages = {}  # name -> EMA of modules[name]
        self.optimizers = {}

    def autocast(self):
        """What forward passes run in: bfloat16 where the run's precision says so."""
        low = self.settings.runtime.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def parts(self, batch):
        """The micro-batches of this process's share of a Batch, on its device."""
        size, share = self.settings.runtime.micro_batch, len(batch.images)
        if size and share % size:
            raise ValueError(
                f"runtime.micro_batch {size} does not divide this process's {share} images; set "
                "one that does."
            )
        return batch.parts(size, self.device)

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

    def agree(self):
        """Every process starts from the weights of rank 0, and so do the averages."""
        for module in (*self.modules.values(), *(a.module for a in self.averages.values())):
            distributed.agree(module.state_dict().values())

    def restore(self, state):
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, average in self.averages.items():
            average.module.load_state_dict(state["averages"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


def setup(settings):
    """Threads, determinism and group of this process, before any tensor is made.

    On the CPU torch's operations here are deterministic as they are; the switch would only load
    the compiler, 6 s a process."""
    distributed.start()
    if settings.runtime.threads:
        torch.set_num_threads(settings.runtime.threads)
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    rng.seed_torch(settings.seed, "weights")


class Segment:
    """A run's training from its milestone at `start` to the one at `stop`, in optimizer steps."""

    def __init__(self, trainer, data, output, start, stop, inputs=()):
        self.trainer, self.data, self.settings = trainer, data, trainer.settings
        self.output = Path(output)
        self.folder = self.output.parent
        self.start, self.stop = start, stop
        self.inputs = {str(p): provenance.sha256(p) for p in inputs}
        self.identity = identity(self.settings, self.inputs.values())
        self.states = States(self.folder)
        self.writes = distributed.rank() == 0
        self.step, self.history, self.status = start, [], "running"
        self.window = []  # metrics of the steps since the last report
        self.collapsed_at = None
        self.wall, self.cpu = time.monotonic(), time.process_time()
        self.interrupted = False

    # ---- state -----------------------------------------------------------------------------

    def resume(self):
        """Take up the run's newest state, or the previous milestone's, or start anew."""
        state, path = self.states.newest(self.identity, self.start, self.stop)
        if state is None:
            self.trainer.agree()
        else:
            self._take(state, path)
        latest, earliest = distributed.highest(self.step, -self.step)
        if latest != -earliest:
            raise ValueError(
                f"processes found states of steps {-earliest:.0f} and {latest:.0f} in "
                f"{self.folder}; see that all of them can read it, and run again."
            )
        if self.writes:  # without what a killed trainer left behind
            self.states.sweep()
            checkpoint.write_text(self.folder / "metrics.jsonl", lines(self.history))

    def _take(self, state, path):
        self.trainer.restore(state["trainer"])
        self.step, self.history = state["step"], json.loads(state["history"])
        self.window = state["window"]
        self.status, self.collapsed_at = state["status"], state["collapsed_at"]
        if self.writes and path != self.states.milestone(self.start):
            say(f"goes on from {path} at step {self.step}")

    def state(self):
        return {
            "trainer": self.trainer.state(),
            "identity": json.dumps(self.identity),
            "step": self.step,
            "history": json.dumps(self.history),
            "window": self.window,
            "status": self.status,
            "collapsed_at": self.collapsed_at,
        }

    # ---- training --------------------------------------------------------------------------

    def run(self, name):
        """Train to `stop` and write the milestone. Raises SystemExit(143) after SIGTERM."""
        signals = (signal.SIGTERM, signal.SIGINT)
        previous = [signal.signal(number, self._interrupt) for number in signals]
        try:
            with checkpoint.run_lock(self.folder) if self.writes else nullcontext():
                self.resume()
                if self.status != "diverged":
                    self._train(name)
                self.finish()
        finally:
            for number, handler in zip(signals, previous, strict=True):
                signal.signal(number, handler)

    def _interrupt(self, *_):
        self.interrupted = True

    def _train(self, name):
        runtime = self.settings.runtime
        self.saved, self.deadline = time.monotonic(), deadline()
        progress = Progress(
            name,
            self.step,
            self.stop,
            self.settings.optim.batch,
            self.folder / "metrics.jsonl" if self.writes else None,
        )
        self.status = "running"
        while self.step < self.stop and self.status == "running":
            rng.seed_torch(*self._dropout_address())
            metrics = self.trainer.step(self.data.batch(self.step), self.step)
            self.window.append({k: v.detach() for k, v in metrics.items()})
            self.step += 1
            reports = self.step % runtime.log_every == 0 or self.step == self.stop
            if reports:
                self._report(self.window, progress)
                self.window = []
            self._save_if_due()
        progress.close()

    def _dropout_address(self):
        """(seed, step, rank), the rank only where it is not 0."""
        rank = distributed.rank()
        return self.settings.seed, "dropout", self.step, *([rank] if rank else [])

    def _save_if_due(self):
        """Save the state when its time has come; stop where a signal or the end of the job's time
        asks for it, at one step for all processes."""
        since = time.monotonic() - self.saved
        due = since > 60 * self.settings.runtime.checkpoint_minutes
        asked = self.interrupted or time.time() >= self.deadline
        due, stops = distributed.highest(due, asked)
        if not (due or stops):
            return
        for metrics in self.window:  # a state holds what all processes measured
            distributed.average_([v.to(self.trainer.device) for v in metrics.values()])
        if self.writes:
            self.states.save_latest(self.state())
        self.saved = time.monotonic()
        if stops:
            if self.writes:
                say(f"stopped at step {self.step}; the state is saved")
            distributed.barrier()
            distributed.stop()
            raise SystemExit(143)

    def _report(self, window, progress):
        """Means over the window's steps that measured: one transfer from the device, then the
        guards."""
        names = list(dict.fromkeys(k for metrics in window for k in metrics))
        device = self.trainer.device  # what was resumed is on the CPU
        values = [torch.stack([m[k].float().to(device) for m in window if k in m]) for k in names]
        mean = torch.stack([v.mean() for v in values])
        distributed.average_([mean])
        means = dict(zip(names, mean.tolist(), strict=True))
        self.history.append({"step": self.step, **means})
        progress.report(self.step, means)
        bad = [k for k, v in means.items() if not math.isfinite(v)]
        if bad:
            where = f"steps {self.step - len(window) + 1} to {self.step}"
            if self.settings.runtime.on_nonfinite == "record":
                say(f"diverged in {where}: {', '.join(bad)} not finite")
                self.status = "diverged"
                return
            raise ValueError(
                f"{', '.join(bad)} became non-finite in {where}; lower optim.lr_* or raise "
                "optim.warmup of this run, or set runtime.on_nonfinite: record to keep the row."
            )
        if self.collapsed_at is None and means.get("usage", 1.0) < COLLAPSED:
            self.collapsed_at = self.step
            say(
                f"warning: codebook usage {means['usage']:.3f} at step {self.step}; a higher "
                "loss.entropy or a lower learning rate of the tokenizer may help"
            )

    # ---- results ---------------------------------------------------------------------------

    def finish(self):
        """The milestone's declared files, last of all; then `latest` is of no more use."""
        if self.status != "diverged":
            self.status = "finished"
        if self.writes:
            checkpoint.save_state(self.states.milestone(self.stop), self.state())
            exports = self.trainer.exports()
            checkpoint.save_weights(self.output / "weights.safetensors", exports)
            checkpoint.write_text(self.output / "curves.csv", curves(self.history))
            checkpoint.write_json(self.output / "run.json", self.record())
            self.states.forget()
        distributed.barrier()
        distributed.stop()

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
            "processes": distributed.size(),
            "wall_s": round(time.monotonic() - self.wall, 1),
            "cpu_s": round(time.process_time() - self.cpu, 1),
            **provenance.environment(),
        }


def deadline():
    """When this job must stop, in seconds since 1970; infinite where SLURM says nothing."""
    end, now = float(os.environ.get("SLURM_JOB_END_TIME", "inf")), time.time()
    return end - max(0.0, min(GRACE, (end - now) / 10))


def curves(history):
    """The whole history as CSV: `step`, then every metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(k for row in history for k in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)
    return text.getvalue()
