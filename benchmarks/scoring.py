"""Memory and seconds of scoring, beside clean-fid and torch-fidelity: python benchmarks/scoring.py

Random features, correlated and positive as pooled ones are: 50,000 generated x 2048 against 10,000
real, float32. Each way runs in a process of its own, which makes its features from a seed; its peak
is the process's whole resident memory (features and libraries included). Rounds alternate between
the ways and the median counts. `--images`, `--real`, `--width` and `--rounds` make it smaller.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np


def features(count, width, seed, shift=0.0):
    """float32 (count, width), a chunk at a time, so that making them needs no memory of its own."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width, width)).astype(np.float32) / np.sqrt(width)
    found = np.empty((count, width), np.float32)
    for i in range(0, count, 1000):
        x = rng.standard_normal((min(1000, count - i), width), np.float32)
        found[i : i + 1000] = np.maximum(x @ mix + shift, 0)
    return found


def ours_frechet(fake, real):
    from gear.metrics.frechet import Statistics, frechet_distance

    return frechet_distance(Statistics.of(fake), Statistics.of(real))


def clean_frechet(fake, real):
    from cleanfid.fid import frechet_distance

    sides = [(x.mean(0), np.cov(x, rowvar=False)) for x in (fake, real)]
    return frechet_distance(*sides[0], *sides[1])


def fidelity_frechet(fake, real):
    import torch
    from torch_fidelity import metric_fid as m

    sides = [m.fid_features_to_statistics(torch.from_numpy(x)) for x in (fake, real)]
    return m.fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"]


def ours_precision(fake, real):
    from gear.metrics.prdc import prdc

    found = prdc(real, fake, k=3)
    return [found["precision"], found["recall"]]


def fidelity_precision(fake, real):
    import torch
    from torch_fidelity.metric_prc import calculate_precision_recall_part

    return calculate_precision_recall_part(torch.from_numpy(fake), torch.from_numpy(real), 3)


def ours_mmd(fake, real):
    from gear.metrics.mmd import mmd

    return mmd(real, fake)


def clean_mmd(fake, real):
    from cleanfid.fid import kernel_distance

    np.random.seed(0)
    return kernel_distance(real, fake)


def fidelity_mmd(fake, real):
    import torch
    from torch_fidelity import metric_kid

    options = {"kid_subsets": 100, "kid_subset_size": 1000, "kid_kernel": "poly", "rng_seed": 0}
    options |= {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    options |= {"kid_kernel_poly_coef0": 1.0, "verbose": False}
    sides = (torch.from_numpy(x) for x in (fake, real))
    return metric_kid.kid_features_to_metric(*sides, **options)["kernel_inception_distance_mean"]


def ours_protocol(fake, real):
    """All of adm: both distances, inception score, precision and recall, from batches of 500."""
    from gear.metrics.protocol import PROTOCOLS, Features, Summary, measured

    def batches(x):
        for i in range(0, len(x), 500):
            part = x[i : i + 500]
            logits = part[:, : min(1008, part.shape[1])]
            probs = np.exp(logits - logits.max(1, keepdims=True))
            yield Features(part, part, probs / probs.sum(1, keepdims=True))

    adm = PROTOCOLS["adm"]
    sides = [Summary.of(adm, batches(x)) for x in (fake, real)]
    return measured(adm, *sides, {"images": len(fake)})[0]


WAYS = {
    "Fréchet distance": {
        "ours": ours_frechet,
        "clean-fid": clean_frechet,
        "torch-fidelity": fidelity_frechet,
    },
    "precision, recall (k = 3)": {"ours": ours_precision, "torch-fidelity": fidelity_precision},
    "MMD, 100 subsets of 1000": {
        "ours": ours_mmd,
        "clean-fid": clean_mmd,
        "torch-fidelity": fidelity_mmd,
    },
    "all of adm, in batches": {"ours": ours_protocol},
}


def once(args):
    """Run one way in this process and print what it took."""
    warnings.simplefilter("ignore")
    metric, way = args.way
    fake, real = features(args.images, args.width, 1), features(args.real, args.width, 1, 0.1)
    started = time.perf_counter()
    value = WAYS[metric][way](fake, real)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "value": repr(value)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 50_000), ("real", 10_000), ("width", 2048), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--metric", help="one of them alone", choices=WAYS)
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        return once(args)
    ways = [(m, w) for m in WAYS for w in WAYS[m] if args.metric in (None, m)]
    found = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way in ways:
            command = [sys.executable, __file__, "--way", *way]
            for name in ("images", "real", "width"):
                command += [f"--{name}", str(getattr(args, name))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    for (metric, way), runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        peak = statistics.median(run["peak"] for run in runs)
        print(f"{metric:26} {way:15} {seconds:8.1f} s {peak:6.2f} GiB   {runs[0]['value'][:70]}")


if __name__ == "__main__":
    main()
