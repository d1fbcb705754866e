"""What every training module reads from its command line."""

import argparse
import json
from dataclasses import dataclass

from gear import config


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
