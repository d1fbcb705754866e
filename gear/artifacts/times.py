"""How long a job took, for its provenance record.

Snakemake's own record of a job that went through a queue has an end that is no later than its
start; the rule's benchmark file has the true time.
"""

import csv
import math


def benchmark_of(rule, log):
    """The benchmark file of the job with that log, as workflow/rules name the two; None for the
    rules that have none."""
    root, _, name = log.removesuffix(".txt").partition("/log/")
    if rule == "prepare_data":
        return f"{root}/benchmark/{name}.tsv"
    if rule == "analyse":
        return f"{root}/{name}.benchmark.tsv"
    if log.endswith(("/log.txt", ".log.txt")):  # beside each other
        return log.removesuffix("log.txt") + "benchmark.tsv"
    folder, _, step = log.removesuffix(".txt").rpartition("/log/")
    return f"{folder}/{step}/benchmark.tsv" if rule.startswith("train") else None


def _measured(file):
    """Column s of a benchmark file, or None."""
    try:
        with open(file, encoding="utf-8", newline="") as handle:
            found = float(list(csv.DictReader(handle, delimiter="\t"))[-1]["s"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return found if math.isfinite(found) and found > 0 else None


def seconds(record):
    """By the benchmark file of the job of one of Snakemake's records, else by the record's times:
    then at least 0.0, where a queue's times say less."""
    files = [benchmark_of(record["rule"], log) for log in record["log"] or ()]
    for found in map(_measured, filter(None, files)):
        if found:
            return found
    return max(0.0, round(record["endtime"] - record["starttime"], 1))
