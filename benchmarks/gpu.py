"""Everything about this project that only a GPU can tell, in one command of at most 8 minutes.

    python benchmarks/gpu.py --output DIR [--minutes 8] [--only PART]
    python benchmarks/gpu.py --output DIR --device cpu --tiny      # every part at toy size

It needs one GPU, torch, torchvision, timm, transformers, safetensors, numpy, scipy and pyyaml. It
needs no network, data set or weight file: all weights and images are random. It prints a table as
it goes and rewrites DIR/gpu.json and DIR/gpu.md after every row, so that a run that is cut off
keeps what it had. Each part runs in a process of its own: a part that crashes, hangs or spoils the
GPU's state does not stop the next one. The exit status is 0 if every part passed.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import random
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a borrowed machine has no installed copy of this project

import torch  # noqa: E402

from benchmarks.gpu_parts import ceilings, correct, devices, resume, speed, steps  # noqa: E402
from benchmarks.gpu_parts.report import markdown, say_row  # noqa: E402
from gear.files.aside import write  # noqa: E402

# part -> (its rows, its share of the time, the parts whose numbers it reads)
PARTS = {
    "ceilings": (ceilings.rows, 0.4, ()),
    "correct": (correct.rows, 2.4, ()),
    "steps": (steps.rows, 1.2, ()),
    "resume": (resume.rows, 0.8, ()),
    "speed": (speed.rows, 3.1, ("ceilings",)),
    "devices": (devices.rows, 0.1, ("ceilings", "speed")),
}


CUT = "stopped after its {:.0f} s"


@dataclass
class Context:
    """What a part is given."""

    device: torch.device
    tiny: bool
    deadline: float  # of time.monotonic(), when the part is stopped
    seed: int  # of the random inputs of `correct`
    known: dict = field(default_factory=dict)  # numbers that earlier parts measured

    def left(self):
        """Seconds until the part is stopped."""
        return self.deadline - time.monotonic()


# ---- in the part's own process -------------------------------------------------------------------


def environment(device):
    """What the results depend on, besides the code. SystemExit: there is no such device."""
    found = {"torch": torch.__version__, "python": platform.python_version()}
    if device == "cpu":
        return {"device": "CPU, one thread", "driver": None, **found}
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here; try it with --device cpu --tiny.")
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        driver = "unknown"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    name = torch.cuda.get_device_name(0)
    return {"device": name, "memory_gib": round(memory, 1), "driver": driver, **found}


def child(connection, function, *arguments):
    """Send every item of function(*arguments), then how it ended."""
    torch.set_num_threads(1)  # for --device cpu; on a busy machine more threads wait for each other
    try:
        for item in function(*arguments):
            connection.send(("row", item))
        connection.send(("end", None))
    except SystemExit as error:
        connection.send(("failed", str(error)))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))


# ---- in the first process, which never touches the GPU -------------------------------------------


def run_part(function, arguments, seconds, take):
    """Run a generator in a process of its own and give its items to `take`.

    Returns None, or what went wrong. The process is killed after `seconds`."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=child, args=(sender, function, *arguments), daemon=True)
    process.start()
    sender.close()
    end = time.monotonic() + seconds
    try:
        while receiver.poll(max(0.0, end - time.monotonic())):
            kind, item = receiver.recv()
            if kind != "row":
                return item
            take(item)
        return CUT.format(seconds)
    except EOFError:
        process.join()
        return f"its process ended with exit code {process.exitcode} (negative: a signal's number)"
    finally:
        process.kill()
        process.join()


def commit():
    """The commit of this checkout, with a word where the work tree differs from it."""
    try:
        git = ["git", "-C", str(ROOT)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return (head.stdout.strip() or "unknown") + (" (changed)" if changed.stdout.strip() else "")


class Run:
    """The results so far, on the screen and in DIR."""

    def __init__(self, folder, header):
        self.folder = Path(folder)
        self.content = {**header, "parts": {}}

    def save(self):
        write(self.folder / "gpu.json", json.dumps(self.content, indent=1) + "\n")
        write(self.folder / "gpu.md", markdown(self.content))

    def part(self, name, context, seconds):
        """Run one part. Its numbers for later parts go into context.known."""
        part = self.content["parts"][name] = {"status": "running", "seconds": 0.0, "rows": []}
        self.save()
        print(f"\n== {name}", flush=True)
        began = time.monotonic()

        def take(row):
            context.known.update(row.pop("known", {}))
            part["rows"].append(row)
            part["seconds"] = round(time.monotonic() - began, 1)
            say_row(row)
            self.save()

        problem = run_part(PARTS[name][0], (context,), seconds, take)
        failed = [row["name"] for row in part["rows"] if row["ok"] is False]
        part["status"] = "failed" if problem or failed else "passed"
        if problem == CUT.format(seconds) and not failed:
            part["status"] = "cut off"
        part["seconds"] = round(time.monotonic() - began, 1)
        if problem:
            part["problem"] = problem
            print(problem, flush=True)
        said = f": {', '.join(failed)}" if failed else ""
        print(f"== {name}: {part['status']} after {part['seconds']} s{said}", flush=True)
        self.save()


def chosen(only):
    """Names of the parts to run, in order, with the parts that they need."""
    wanted = set(only or PARTS)
    for name in list(wanted):
        wanted.update(PARTS[name][2])
    return [name for name in PARTS if name in wanted]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Measure and check this project on one GPU.")
    parser.add_argument("--output", required=True, help="folder of gpu.json and gpu.md")
    parser.add_argument("--minutes", type=float, default=8.0, help="of the whole run (8)")
    parser.add_argument("--only", action="append", choices=PARTS, help="repeatable; with its needs")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seed", type=int, help="of `correct`'s inputs; another one at each run")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: is every part in order?")
    args = parser.parse_args(arguments)
    if args.device == "cpu" and not args.tiny:
        parser.error("--device cpu needs --tiny; the paper's sizes would take hours on a CPU.")
    began, header = time.monotonic(), {}
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as gear.runtime.device.setup
    problem = run_part(lambda: iter([environment(args.device)]), (), 60, header.update)
    if problem:
        raise SystemExit(f"gpu.py: {problem}")
    seed = random.randrange(2**31) if args.seed is None else args.seed
    header |= {"date": str(datetime.date.today()), "commit": commit(), "seed": seed}
    header |= {"tiny": args.tiny}
    print(", ".join(f"{key} {value}" for key, value in header.items()), flush=True)
    run, known = Run(args.output, header), {"device": header["device"], "torch": header["torch"]}
    names = chosen(args.only)
    for place, name in enumerate(names):
        # what an earlier part left over is shared among all that come
        left = 60 * args.minutes - (time.monotonic() - began)
        shares = [PARTS[later][1] for later in names[place:]]
        seconds = max(1.0, left * shares[0] / sum(shares))
        deadline = time.monotonic() + seconds
        context = Context(torch.device(args.device), args.tiny, deadline, seed, known)
        run.part(name, context, seconds)
    status = {name: part["status"] for name, part in run.content["parts"].items()}
    run.content["seconds"] = round(time.monotonic() - began, 1)
    run.save()
    said = ", ".join(f"{name} {word}" for name, word in status.items())
    print(f"\n{said}; {run.content['seconds']} s; {run.folder / 'gpu.md'}")
    return 0 if set(status.values()) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())
