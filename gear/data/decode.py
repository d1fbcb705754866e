"""Worker processes that decode image files before a training needs them. Linux only (memfd).

While a training works on one batch, the workers decode the next batches into shared memory. Only
orders (lines of JSON) and answers pass through pipes. The pixels depend only on the order, so they
are the same for any number of workers. With 0 workers the training decodes the images itself.
A damaged file is a Mistake. A damaged image of a shard is reported with its row, and the caller
replaces it.

The workers are started as programs and not forked. A forked process would hold the training's lock
on its folder, its GPU and its threads' locks. When a training ends in any way, the pipe of orders
closes, and the worker ends.

    python -m gear.data.decode FILE-DESCRIPTOR AHEAD ROWS SIZE CHANNELS    (started from here)

Shapes: S slots, one for each batch ahead, N images of a batch, H = W = size, C channels.
"""

import contextlib
import io
import json
import mmap
import os
import signal
import subprocess
import sys
import weakref
from collections import deque

import numpy as np

from gear.data.tars import Files
from gear.data.transforms import (
    centred_pixels,
    decoded,
    fault_of,
    training_pixels,
    validation_pixels,
)
from gear.files.mistakes import Mistake

AHEAD = 3  # batches that are decoded or wait, with the requested one
REASONS = 64  # broken images of a batch for which a worker says why
FILES = Files()  # the shards of this process


class Broken(Exception):
    """An image of a shard cannot be decoded; the text says why."""


def decode(order, size, channels):
    """(size, size, C) uint8 of an order. Mistake: a damaged file. Broken: an image of a shard.

    An order is (path, u) in training and (path, interpolation) in validation. Of a shard's image it
    is ((path, offset, bytes), (interpolation, whether it is mirrored)) in both."""
    path, how = order
    if not isinstance(path, str):
        return member_pixels(path, channels, size, *how)
    if isinstance(how, str):
        return validation_pixels(path, channels, size, how)
    return training_pixels(path, channels, size, how)


def member_pixels(place, channels, size, interpolation, mirrored):
    """(size, size, C) uint8 of the middle of an image in a shard. Broken: it cannot be decoded."""
    data = FILES.read(*place)
    try:
        image = decoded(io.BytesIO(data), len(data), channels)
        square = centred_pixels(image, size, interpolation)
    except MemoryError:
        raise
    except Exception as error:  # PIL raises many types of errors for damaged files
        raise Broken(fault_of(error)) from None
    return square[:, ::-1] if mirrored else square


def fill(out_NHWC, orders):
    """Decode orders [(row, order)] into their rows; returns {row: why it is broken}.

    Mistake: a damaged file."""
    broken = {}
    for row, order in orders:
        try:
            out_NHWC[row] = decode(order, *out_NHWC.shape[2:])
        except Broken as error:
            broken[row] = str(error)
    return broken


def said(broken):
    """[(row, why)], short enough for a pipe that is not read at once."""
    return [(row, why if i < REASONS else "") for i, (row, why) in enumerate(broken.items())]


class Ahead:
    """Numbered batches of images. The next batches are decoded while one is in use."""

    def __init__(self, orders_of, rows, size, channels, workers):
        """orders_of(number): list of a batch's orders, at most `rows`; empty after the last."""
        self.orders_of, self.workers = orders_of, workers
        self.shape = (AHEAD, rows, size, size, channels)
        self.asked = deque()  # (number, orders), oldest first
        self.processes = []
        self.memory_SNHWC = None
        self.broken = {}  # row: why, of the images that the last `get` could not decode

    def get(self, number):
        """(n, H, W, C) uint8 of batch `number`, valid until the next call.

        Random access works. Sequential access is fast, because the next batches are decoded ahead.
        Mistake: a damaged file, or a worker that ended."""
        if self.asked and self.asked[0][0] != number:
            while self.asked:  # drop the batches that were decoded for sequential access
                self._collect()
        following = self.asked[-1][0] + 1 if self.asked else number
        while len(self.asked) < (AHEAD if self.workers else 1):
            orders = self.orders_of(following)
            if not orders:
                break
            self._ask(following, orders)
            following += 1
        return self._collect()

    def _ask(self, number, orders):
        if self.memory_SNHWC is None:
            self._start()
        for i, process in enumerate(self.processes):
            own_orders = [(row, orders[row]) for row in range(i, len(orders), self.workers)]
            try:
                process.stdin.write(json.dumps([number % AHEAD, own_orders]).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise self._ended(process) from None
        self.asked.append((number, orders))

    def _collect(self):
        number, orders = self.asked.popleft()
        out_NHWC = self.memory_SNHWC[number % AHEAD, : len(orders)]
        self.broken, mistakes = {}, []
        if not self.workers:
            self.broken = fill(out_NHWC, enumerate(orders))
        for process in self.processes:
            answer = process.stdout.readline()
            if not answer:
                raise self._ended(process)
            mistake, broken = json.loads(answer)
            mistakes.append(mistake)
            self.broken |= dict(broken)
        for mistake in mistakes:
            if mistake is not None:
                raise Mistake(mistake)
        return out_NHWC

    def _start(self):
        if not self.workers:
            self.memory_SNHWC = np.empty(self.shape, np.uint8)
            return
        file = os.memfd_create("gear-images")
        os.ftruncate(file, int(np.prod(self.shape)))
        self.memory_SNHWC = np.frombuffer(mmap.mmap(file, 0), np.uint8).reshape(self.shape)
        # one thread for each worker, and the import path of this process
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-m", "gear.data.decode", *map(str, (file, *self.shape[:3]))]
        self.processes += [
            subprocess.Popen(
                [*command, str(self.shape[4])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[file],
                env=os.environ | threads | path,
            )
            for _ in range(self.workers)
        ]
        os.close(file)
        weakref.finalize(self, end, self.processes)

    def _ended(self, process):
        return Mistake(
            f"a process that decodes images ended with status {process.wait()}, perhaps because "
            "memory was full; lower runtime.workers or ask for more memory, and run again."
        )


def end(processes):
    """Kill the workers; they hold no state."""
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def serve(file, *shape):
    """Decode the orders on standard input into shared memory; one answer per batch."""
    # after a signal the training finishes its step, so its workers ignore the signal
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    slots, rows, size, channels = shape
    memory = np.frombuffer(mmap.mmap(file, 0), np.uint8)
    memory_SNHWC = memory.reshape(slots, rows, size, size, channels)
    for line in sys.stdin.buffer:
        slot, orders = json.loads(line)
        mistake, broken = None, {}
        try:
            broken = fill(memory_SNHWC[slot], orders)
        except Mistake as error:
            mistake = str(error)
        try:
            os.write(1, json.dumps([mistake, said(broken)]).encode() + b"\n")
        except BrokenPipeError:
            return  # the training has ended


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:]))
