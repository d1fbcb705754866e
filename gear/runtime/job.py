"""What every training module reads from its command line, and how long its job has."""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from gear import config

GRACE = 300  # seconds before the end of the job's time at which it saves, at most a tenth of it


@dataclass(frozen=True)
class Job:
    settings: config.Settings
    start: int  # optimizer steps of the previous milestone
    stop: int
    name: str
    output: str  # folder of the milestone
    data: str  # manifest of the images
    tokenizer: str | None  # folder of the tokenizer's checkpoint
    teacher: str | None

    @property
    def inputs(self):
        """The files that the training starts from; its state belongs to their content."""
        folders = [folder for folder in (self.tokenizer, self.teacher) if folder]
        return [self.data, *(Path(folder) / "weights.safetensors" for folder in folders)]


def parse(description):
    """The Job of a command line that a Snakemake rule wrote."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--job", required=True, type=json.loads, help="registry.Study.job")
    parser.add_argument("--name", required=True, help="shown in the progress line")
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--teacher")
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
    )


def deadline():
    """When this job must stop, in seconds since 1970; infinite where SLURM says nothing."""
    end, now = float(os.environ.get("SLURM_JOB_END_TIME", "inf")), time.time()
    return end - max(0.0, min(GRACE, (end - now) / 10))
