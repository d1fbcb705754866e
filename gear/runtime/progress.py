"""One line of progress every few seconds, a bar on a terminal, metrics.jsonl for machines."""

import json
import resource
import sys
import time
from contextlib import suppress

import torch
from tqdm import tqdm

SHOWN = ("total", "l1", "ntp", "align_ar", "align_tokenizer", "usage", "loss")


def say(text):
    """A line for people. Where their end of it is gone, as with a killed `tee`, work goes on."""
    with suppress(BrokenPipeError):
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def lines(history):
    """The text of metrics.jsonl for [{'step': ..., metric: value}]."""
    return "".join(json.dumps(row) + "\n" for row in history)


def memory():
    """The most GiB that this process has held: of its GPU, without one of main memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Progress:
    """Prints `run step/stop % | losses | s/step | images/s | memory | left`, at most every
    `seconds`; on a terminal a bar with the same numbers.

    Without a path it is that of a process which neither prints nor writes. The time left is of the
    steps alone."""

    def __init__(self, name, start, stop, batch, path, seconds=5.0):
        self.name, self.start, self.stop, self.batch = name, start, stop, batch
        self.began = self.printed = time.monotonic()
        self.seconds, self.path = seconds, path
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.bar = None
        if path and getattr(sys.stderr, "isatty", bool)():
            self.bar = tqdm(desc=name, total=stop, initial=start, unit="step", dynamic_ncols=True)

    def report(self, step, metrics):
        """`metrics`: plain floats of the window that ends at `step`."""
        if self.path is None:
            return
        self._write(lines([{"step": step, **metrics}]))
        now = time.monotonic()
        values = "  ".join(f"{k} {metrics[k]:.3f}" for k in SHOWN if k in metrics)
        pace = (now - self.began) / max(1, step - self.start)
        speed = f"{self.batch / pace:.0f} images/s  {memory():.1f} GiB"
        if self.bar is not None:
            self.bar.set_postfix_str(f"{values}  {speed}", refresh=False)
            self.bar.update(step - self.bar.n)
            return
        if now - self.printed < self.seconds and step < self.stop:
            return
        self.printed = now
        say(
            f"{self.name}  {step}/{self.stop} {100 * step // self.stop}%  {values}  "
            f"{pace:.3f} s/step  {speed}  {pace * (self.stop - step):.0f} s left"
        )

    def _write(self, text):
        """To metrics.jsonl; a disk that is full costs lines of it, not the training."""
        if self.file is None:
            return
        try:
            self.file.write(text)
            self.file.flush()
        except OSError as error:
            say(f"warning: {self.path} lacks the lines from here on: {error}")
            with suppress(OSError):
                self.file.close()
            self.file = None

    def close(self):
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()
