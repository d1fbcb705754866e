"""The training loop of all stages: a job trains one run between two milestones.

A resumed training equals an uninterrupted one: the batch of a step, its dropout and its label drop
are functions of (seed, step), and the saved state holds everything else. Under torchrun every
process trains on its share of each batch, and only rank 0 writes files.
"""

import csv
import dataclasses
import io
import json
import os
import platform
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from gear import config
from gear.files import hashes
from gear.files.aside import NoRoom, write
from gear.files.mistakes import Mistake, counted
from gear.files.reading import reason_of
from gear.runtime import checkpoint, distributed, loggers, provenance, rng
from gear.runtime.guards import Guards, not_finite
from gear.runtime.job import deadline
from gear.runtime.progress import Progress, lines, say
from gear.runtime.state import States, identity


class Segment:
    """A run's training between two milestones: optimizer steps `start` to `stop`."""

    def __init__(self, trainer, data, output, start, stop, inputs=()):
        self.trainer, self.data, self.settings = trainer, data, trainer.settings
        self.output = Path(output)
        self.folder = self.output.parent
        self.start, self.stop = start, stop
        self.inputs = {str(p): hashes.sha256_once(p) for p in inputs}
        self.identity = identity(self.settings, self.inputs.values())
        # not part of the identity, so that older states stay valid
        self.inputs |= {str(p): hashes.sha256_once(p) for p in trainer.files}
        self.states = States(self.folder)
        self.writes = distributed.rank() == 0
        self.step, self.history, self.status = start, [], "running"
        self.window = []  # metrics of the steps since the last report
        self.agreed = 0  # number of the window's steps that are already means over all processes
        self.guards = Guards(quiet=self.settings.runtime.on_nonfinite == "record")
        self.spent = {"wall_s": 0.0, "cpu_s": 0.0, "attempts": 0}  # cost of earlier attempts
        self.wall, self.cpu = time.monotonic(), time.process_time()
        self.interrupted = False
        self.loggers = loggers.load(self.settings.runtime.loggers) if self.writes else {}

    # ---- state -----------------------------------------------------------------------------

    def resume(self):
        """Load the run's newest state; without a state, start from scratch.

        Mistake: the processes found states of different steps."""
        state, path = self.states.newest(self.identity, self.start, self.stop)
        if state is None:
            self.trainer.agree()
        else:
            self._take(state, path)
        latest, earliest = distributed.highest(self.step, -self.step)
        if latest != -earliest:
            raise Mistake(
                f"processes found states of steps {-earliest:.0f} and {latest:.0f} in "
                f"{self.folder}; see that all of them can read it, and run again."
            )
        if self.writes:  # remove the remains of a killed trainer
            self.states.sweep()
            write(self.folder / "metrics.jsonl", lines(self.history))

    def _take(self, state, path):
        try:
            self.trainer.restore(state["trainer"])
        except torch.OutOfMemoryError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise Mistake(
                f"{path} does not fit this run's networks ({reason_of(error)}); delete it and run "
                "again."
            ) from error
        self.step, self.history = state["step"], json.loads(state["history"])
        self.window = state["window"]
        self.agreed = len(self.window)
        self.status, self.guards.seen = state["status"], state["seen"]
        if path != self.states.milestone(self.start):
            self.spent = state["spent"]
            if self.writes:
                say(f"goes on from {path} at step {self.step}")

    def state(self):
        return {
            "trainer": self.trainer.state(),
            "identity": json.dumps(self.identity),
            "step": self.step,
            "history": json.dumps(self.history),
            "window": self.window,
            "status": self.status,
            "seen": self.guards.seen,
            "spent": self.cost(),
        }

    def cost(self):
        """Seconds and attempts that this process has spent on the segment so far."""
        return {
            "wall_s": round(self.spent["wall_s"] + time.monotonic() - self.wall, 1),
            "cpu_s": round(self.spent["cpu_s"] + time.process_time() - self.cpu, 1),
            "attempts": self.spent["attempts"] + 1,
        }

    # ---- training --------------------------------------------------------------------------

    def run(self, name):
        """Train to `stop` and write the milestone. Raises SystemExit(143) after SIGTERM."""
        self.guards.name = name
        signals = (signal.SIGTERM, signal.SIGINT)
        previous = [signal.signal(number, self._interrupt) for number in signals]
        try:
            with self._lock() if self.writes else nullcontext():
                distributed.highest(0)  # all processes wait here until rank 0 holds the lock
                self.trainer.tune()
                self.resume()
                if self.status != "diverged":
                    self._train(name)
                self.finish()
        finally:
            for number, handler in zip(signals, previous, strict=True):
                signal.signal(number, handler)

    def _lock(self):
        """The lock of the run's folder. A SLURM job waits until its time ends."""
        in_slurm = "SLURM_JOB_ID" in os.environ
        return checkpoint.run_lock(self.folder, until=deadline() if in_slurm else 0.0)

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
        reported = self.history[-1]["step"] if self.history else 0
        settings = dataclasses.asdict(self.settings)
        logs = loggers.start(self.loggers, name, self.folder, settings, reported)
        self.status = "running"
        while self.step < self.stop and self.status == "running":
            rng.seed_torch(*self._dropout_address())
            metrics = self.trainer.step(self.data.batch(self.step), self.step)
            self.window.append({k: v.detach().float() for k, v in metrics.items()})
            self.step += 1
            reports = self.step % runtime.log_every == 0 or self.step == self.stop
            if reports:
                self._report(progress, logs)
                self.window, self.agreed = [], 0
            elif self.step == 1:  # what the run starts from; it counts in its window too
                self._record(progress, logs)
            self._save_if_due()
        for log in (progress, *logs):
            log.close()

    def _dropout_address(self):
        """(seed, 'dropout', step), and the rank if it is not 0."""
        rank = distributed.rank()
        return self.settings.seed, "dropout", self.step, *([rank] if rank else [])

    def _save_if_due(self):
        """Save the state if it is due; stop if the job must end.

        A signal or the end of the job's time ends the job. All processes save and stop at the same
        step. SystemExit(143): the training stops."""
        since = time.monotonic() - self.saved
        due = since > 60 * self.settings.runtime.checkpoint_minutes
        must_stop = self.interrupted or time.time() >= self.deadline
        due, stops = distributed.highest(due, must_stop)
        if not (due or stops):
            return
        bad = self._not_finite(self._means()) if self.window else []
        bad = bad or self._bad_weights()
        if not bad:  # a window that is not finite is recorded at its end, not saved
            self._save_latest(must=stops)
        self.saved = time.monotonic()
        if stops:
            if self.writes:
                saved = "not saved, it is not finite" if bad else "saved"
                say(f"stopped at step {self.step}; the state is {saved}")
            distributed.barrier()
            distributed.stop()
            raise SystemExit(143)

    def _save_latest(self, must):
        """Save the latest state. A full disk is only a warning, unless `must` is true.

        The next save may find room. NoRoom: the disk is full and `must` is true."""
        if not self.writes:
            return
        try:
            self.states.save_latest(self.state())
        except NoRoom as error:
            if must:
                raise
            say(f"warning: at step {self.step} {error}")

    def _agree(self):
        """Replace the metrics of the window's new steps by their means over all processes.

        Each step is averaged by itself, so a save within a window changes no bit of the means."""
        new = self.window[self.agreed :]
        if new and distributed.size() > 1:
            means = torch.stack([value for metrics in new for value in metrics.values()])
            distributed.average_([means])
            values = iter(means.unbind())
            self.window[self.agreed :] = [{k: next(values) for k in metrics} for metrics in new]
        self.agreed = len(self.window)

    def _means(self):
        """{metric: mean over the steps that have it}, with one transfer from the device."""
        self._agree()
        names = list(dict.fromkeys(k for metrics in self.window for k in metrics))
        device = self.trainer.device  # metrics of a resumed window are on the CPU
        values = [torch.stack([m[k].to(device) for m in self.window if k in m]) for k in names]
        means = torch.stack([v.mean() for v in values])
        return dict(zip(names, means.tolist(), strict=True))

    def _record(self, progress, logs):
        """The window's means, which history, progress line and loggers get."""
        means = self._means()
        self.history.append({"step": self.step, **means})
        progress.report(self.step, means)
        for log in logs:
            log.log(self.step, means)
        return means

    def _report(self, progress, logs):
        """Give the window's means to history, progress line, loggers and guards."""
        means = self._record(progress, logs)
        bad = self._not_finite(means)
        if bad:
            self.status = "diverged"
            if self.writes:
                say(f"diverged in {self._where()}: {', '.join(bad)} not finite")
        self.guards.watch(self.step, means)

    def _where(self):
        return f"steps {self.step - len(self.window) + 1} to {self.step}"

    def _not_finite(self, means):
        """Names of the means that are not finite.

        No state of such a window is saved. Mistake: there is such a mean, and runtime.on_nonfinite
        is stop."""
        return self._tolerated(not_finite(means), self._where())

    def _bad_weights(self):
        """[name of the first exported tensor that is not finite], or []. Mistake: as above."""
        for prefix, module in self.trainer.exports().items():
            key = checkpoint.not_finite(module.state_dict())
            if key is not None:
                return self._tolerated([f"{prefix}.{key}"], f"the update of step {self.step}")
        return []

    def _tolerated(self, bad, where):
        """`bad`, the names of what is not finite. Mistake: some is, and the run shall stop then."""
        if bad and self.settings.runtime.on_nonfinite == "stop":
            raise Mistake(
                f"{', '.join(bad)} became non-finite in {where}; the last good state is "
                f"{self.states.last(self.start)}. Lower optim.lr_* or raise optim.warmup of this "
                "run, or set runtime.on_nonfinite: record to keep the row."
            )
        return bad

    # ---- results ---------------------------------------------------------------------------

    def finish(self):
        """Write the milestone's files, then delete the latest states.

        The losses are those before the last update, so the weights are looked at as well."""
        if self.status != "diverged":
            bad = self._bad_weights()
            self.status = "diverged" if bad else "finished"
            if bad and self.writes:
                say(f"diverged in the update of step {self.step}: {bad[0]} not finite")
        record = self.record()
        if self.writes:
            if record.get("replaced_images"):
                broken = counted(record["replaced_images"], "broken image")
                say(f"others stood in for {broken} since this process started")
            checkpoint.save_state(self.states.milestone(self.stop), self.state())
            write(self.output / "curves.csv", curves(self.history))
            checkpoint.save_folder(self.output, self.trainer.exports(), record)
            self.states.forget()
        distributed.barrier()
        distributed.stop()

    def record(self):
        """The content of run.json. All processes must call this."""
        cost, processes = self.cost(), distributed.size()
        cpu = distributed.gather(cost["cpu_s"])
        gpus = processes if self.trainer.device.type == "cuda" else 0
        return {
            "settings": dataclasses.asdict(self.settings),
            "difference": config.difference(self.settings),
            "kernels": self.settings.kernels,  # what `auto` is
            "steps": self.stop,
            "status": self.status,
            "collapsed_at": self.guards.collapsed_at,
            "parameters": {
                name: sum(p.numel() for p in module.parameters())
                for name, module in self.trainer.modules.items()
            },
            "inputs": self.inputs,
            "classes": self.data.classes,  # their names, in the order of the labels
            "processes": processes,
            **self._replaced(),
            **cost,
            "cpu_s": round(sum(cpu), 1),
            "gpu_hours": round(gpus * cost["wall_s"] / 3600, 3),
            **provenance.environment(),
            "hosts": sorted(set(distributed.gather(platform.node()))),
        }

    def _replaced(self):
        """Where the data count them: how many broken images were replaced since this process
        started, each counted once by every process that met it."""
        if not hasattr(self.data, "replaced"):
            return {}
        return {"replaced_images": sum(distributed.gather(self.data.replaced))}


def curves(history):
    """The history as CSV text: a column `step`, then a column for each metric."""
    text = io.StringIO()
    names = list(dict.fromkeys(k for row in history for k in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in row.items()} for row in history)
    return text.getvalue()
