"""The seconds of a job, for its provenance record.

Snakemake's own record of a queued job has an end that is not later than its start. The benchmark
file of the rule has the true time.
"""

import csv
import math


def benchmark_of(rule, log):
    """The benchmark file of the job with that log, named as in workflow/rules.

    None for a rule without benchmark file."""
    root, _, name = log.removesuffix(".txt").partition("/log/")
    if rule in ("prepare_data", "make_shards", "prepare_captions"):
        return f"{root}/benchmark/{name}.tsv"
    if rule == "analyse":
        return f"{root}/{name}.benchmark.tsv"
    if log.endswith(("/log.txt", ".log.txt")):  # both files are in one folder
        return log.removesuffix("log.txt") + "benchmark.tsv"
    folder, _, step = log.removesuffix(".txt").rpartition("/log/")
    return f"{folder}/{step}/benchmark.tsv" if rule.startswith("train") else None


def _measured(file):
    """The seconds in a benchmark file (column s), or None."""
    try:
        with open(file, encoding="utf-8", newline="") as handle:
            seconds = float(list(csv.DictReader(handle, delimiter="\t"))[-1]["s"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def seconds(record):
    """The seconds of the job of one of Snakemake's records.

    They come from the job's benchmark file, or else from the record's times (0.0 or more)."""
    files = [benchmark_of(record["rule"], log) for log in record["log"] or ()]
    for measured in map(_measured, filter(None, files)):
        if measured:
            return measured
    return max(0.0, round(record["endtime"] - record["starttime"], 1))
