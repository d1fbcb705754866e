"""The command line of every training module, and the end of its job's time."""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from gear import config

# A job saves GRACE seconds before the end of its time, or a tenth of the time left if that is less.
GRACE = 300


@dataclass(frozen=True)
class Job:
    settings: config.Settings
    start: int  # optimizer steps of the previous milestone
    stop: int  # optimizer steps of this milestone
    name: str
    output: str  # folder of the milestone
    data: str  # manifest of the images
    tokenizer: str | None  # folder of the tokenizer's checkpoint
    teacher: str | None
    encoder: str | None  # folder of the text encoder

    @property
    def inputs(self):
        """The files that the training starts from. A state is valid only for their content."""
        folders = [folder for folder in (self.tokenizer, self.teacher) if folder]
        files = [self.data, *(Path(folder) / "weights.safetensors" for folder in folders)]
        if self.encoder:
            files += [Path(self.encoder) / name for name in ("model.safetensors", "tokenizer.json")]
        return files


def parse(description):
    """The Job of a command line that a Snakemake rule wrote. Mistake: a wrong setting."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--job", required=True, type=json.loads, help="JSON of gear.study.jobs.training"
    )
    parser.add_argument("--name", required=True, help="shown in the progress line")
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--teacher")
    parser.add_argument("--encoder", help="folder of the text encoder")
    args = parser.parse_args()
    return Job(
        settings=config.build(args.job["settings"]),
        start=args.job["start"],
        stop=args.job["stop"],
        name=args.name,
        output=args.output,
        data=args.data,
        tokenizer=args.tokenizer,
        teacher=args.teacher,
        encoder=args.encoder,
    )


def deadline():
    """The time to stop, in seconds since 1970; infinite outside SLURM."""
    end, now = float(os.environ.get("SLURM_JOB_END_TIME", "inf")), time.time()
    return end - max(0.0, min(GRACE, (end - now) / 10))
