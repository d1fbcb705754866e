"""The progress line or bar of a training, a count of other work, and metrics.jsonl for programs."""

import resource
import sys
import time
from contextlib import suppress

import torch
from tqdm import tqdm

from gear.files.aside import line

SHOWN = ("total", "l1", "ntp", "align_ar", "align_tokenizer", "usage", "loss")


def say(text):
    """Print a line on stderr. A closed pipe, such as a killed `tee`, is ignored."""
    with suppress(BrokenPipeError):
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def counter(what, total, seconds=5.0):
    """A function of how many are done, which may be a part of one more.

    It says `images drawn 512/2048  110 images/s  14 s left` every `seconds`. Work that is shorter
    says nothing. what: begins with the name of what is counted."""
    unit = what.split()[0]
    began = printed = time.monotonic()

    def report(done):
        nonlocal printed
        now = time.monotonic()
        if now - printed >= seconds and done:
            printed = now
            pace = (now - began) / done
            left = f"{1 / pace:.3g} {unit}/s  {pace * (total - done):.0f} s left"
            say(f"{what} {int(done)}/{total}  {left}")

    return report


def lines(history):
    """The text of metrics.jsonl for rows {'step': ..., metric: value}; null: not finite."""
    return "".join(line(row) + "\n" for row in history)


def memory():
    """Largest memory use of this process in GiB: GPU memory, else RAM."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Progress:
    """Prints `run step/stop % | losses | s/step | images/s | memory | time left`.

    A line is printed at most every `seconds`. On a terminal there is a bar with the same numbers.
    The time left counts only the steps. path: of metrics.jsonl; None: silent (all
    ranks but 0)."""

    def __init__(self, name, start, stop, batch, path, seconds=5.0):
        self.name, self.start, self.stop, self.batch = name, start, stop, batch
        self.began = self.printed = time.monotonic()
        self.seconds, self.path = seconds, path
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.bar = None
        terminal = hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
        if path and terminal:
            self.bar = tqdm(desc=name, total=stop, initial=start, unit="step", dynamic_ncols=True)

    def report(self, step, metrics):
        """Write and print the metrics (plain floats) of the window that ends at `step`."""
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
        """Append to metrics.jsonl. After an error, such as a full disk, the training continues."""
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
