"""What a finished study cost, by stage: python benchmarks/stages.py reproduced/demo

Seconds are those of Snakemake's benchmark files, each of a one-thread job; CPU-seconds are the
trainings' own, from run.json (the benchmark files of a local study see only the waiting client).
"""

import csv
import json
import sys
from pathlib import Path

from gear.study.stages import STAGES

# its name, and where its benchmark files lie
PATTERNS = {"data": "benchmark/**/*.tsv"} | {
    noun: f"{noun}/**/benchmark.tsv" for noun in ("teacher", "features", *STAGES, "metrics")
}
PATTERNS["analysis"] = "analysis/**/*.benchmark.tsv"


def cost(root, pattern):
    """(jobs, seconds, CPU-seconds of trainings) of the jobs with these benchmark files."""
    jobs, seconds, cpu = 0, 0.0, 0.0
    for path in sorted(Path(root).glob(pattern)):
        with open(path, encoding="utf-8", newline="") as handle:
            seconds += sum(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
        jobs += 1
        record = path.with_name("run.json")
        if record.exists():
            cpu += json.loads(record.read_text(encoding="utf-8")).get("cpu_s", 0.0)
    return jobs, seconds, cpu


def main():
    root = sys.argv[1]
    print("| stage | jobs | seconds, summed over jobs | of these CPU-seconds of training |")
    print("| --- | ---: | ---: | ---: |")
    for stage, pattern in PATTERNS.items():
        jobs, seconds, cpu = cost(root, pattern)
        print(f"| {stage} | {jobs} | {seconds:.0f} | {f'{cpu:.0f}' if cpu else ''} |")


if __name__ == "__main__":
    main()
