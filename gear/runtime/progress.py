"""One line of progress every few seconds, and metrics.jsonl for machines."""

import json
import sys
import time
from contextlib import suppress


def say(text):
    """A line for people. Where their end of it is gone, as with a killed `tee`, work goes on."""
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)


def lines(history):
    """The text of metrics.jsonl for [{'step': ..., metric: value}]."""
    return "".join(json.dumps(row) + "\n" for row in history)


class Progress:
    """Prints `run step/stop % | losses | s/step | images/s | left`, at most every `seconds`.

    Without a path it is that of a process which neither prints nor writes."""

    def __init__(self, name, start, stop, batch, path, seconds=5.0):
        self.name, self.start, self.stop, self.batch = name, start, stop, batch
        self.began = self.printed = time.monotonic()
        self.seconds = seconds
        self.file = open(path, "a", encoding="utf-8") if path else None

    def report(self, step, metrics):
        """`metrics`: plain floats of the window that ends at `step`."""
        if self.file is None:
            return
        self.file.write(lines([{"step": step, **metrics}]))
        self.file.flush()
        now = time.monotonic()
        if now - self.printed < self.seconds and step < self.stop:
            return
        self.printed = now
        pace = (now - self.began) / max(1, step - self.start)
        left = pace * (self.stop - step)
        shown = ("total", "l1", "ntp", "align_ar", "align_tokenizer", "usage", "loss")
        values = "  ".join(f"{k} {metrics[k]:.3f}" for k in shown if k in metrics)
        say(
            f"{self.name}  {step}/{self.stop} {100 * step // self.stop}%  {values}  "
            f"{pace:.3f} s/step  {self.batch / pace:.0f} images/s  {left:.0f} s left"
        )

    def close(self):
        if self.file is not None:
            self.file.close()
