"""All that is asked of one checkpoint in one process: samples, scores, validation, pictures.

Small studies use it, where starting a process costs more than the work.

python -m gear.evaluation.checkpoint --job JSON --checkpoint DIR --tokenizer DIR --features DIR
    --samples DIR --metrics DIR [--teacher DIR] [--data MANIFEST]
"""

import argparse
import json

import numpy as np
import torch

from gear import config
from gear.alignment.teachers.load import load_teacher
from gear.ar.load import load_ar
from gear.data.memory import to_uint8
from gear.data.sets import validation_set
from gear.evaluation import captions, validate
from gear.evaluation.score import Scorer
from gear.files.aside import write_json
from gear.files.reading import status_of
from gear.runtime.device import setup, use
from gear.sampling.decode import decode
from gear.sampling.generate import Sampler, generate, save_arrays
from gear.tokenizer.load import load_frozen

PER_CLASS, ORIGINALS = 8, 16


def last_axis(images):
    """(N, C, H, W) tensor -> (N, H, W, C) array."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()


@torch.no_grad()
def pictures(data, classes, tokenizer, ar=None):
    """Arrays for the image figures: balanced samples by class, originals, reconstructions."""
    device = next(tokenizer.parameters()).device
    chosen = np.linspace(0, len(data) - 1, ORIGINALS).round().astype(np.int64)
    originals = data.take(chosen)
    decoded, _, _ = validate.reconstruct(tokenizer, originals.to(device))
    recon = validate.in_unit(decoded)
    found = {
        "originals": last_axis(originals),
        "reconstructions": last_axis(to_uint8(recon * 2 - 1)),
    }
    if ar is not None:
        sampler = Sampler(images=PER_CLASS * classes, labels="balanced", seed=1)
        drawn = generate(ar, classes, sampler)
        order = np.argsort(drawn["labels"], kind="stable")
        found["samples"] = last_axis(decode(tokenizer, drawn["tokens"][order]))
        found["labels"] = drawn["labels"][order]
    return found


def evaluate(job, args):
    """Write every declared file of one checkpoint.

    Scores are null where it, or the tokenizer that it froze, diverged."""
    settings = config.build(job["settings"])
    setup(settings)
    if settings.reads_text:
        return captions.evaluate(job, args, settings)
    device = use()
    scorer = Scorer(job["generation"], args.features, device)
    validate.rounding_of(job["validation"], scorer.kind)
    data = validation_set(settings, args.data)
    classes = settings.data.classes
    diverged = "diverged" in map(status_of, (args.checkpoint, args.tokenizer))
    tokenizer = load_frozen(args.tokenizer).to(device)
    ar = load_ar(args.checkpoint)[0].to(device) if args.teacher else None
    for name, sampler in job["samplers"].items():
        drawn = generate(ar, classes, Sampler(**sampler))
        save_arrays(f"{args.samples}/{name}.npz", drawn)
        scores = scorer.nothing() if diverged else scorer.of_tokens(tokenizer, drawn["tokens"])
        write_json(f"{args.metrics}/{name}.json", scores)
    if diverged:
        found = validate.nothing(args.checkpoint, job["validation"])
    else:
        teacher = load_teacher(args.teacher, settings.data) if args.teacher else None
        found = validate.validate(
            args.checkpoint,
            tokenizer,
            settings,
            data,
            job["validation"],
            scorer,
            teacher,
        )
    write_json(f"{args.metrics}/validation.json", found)
    return save_arrays(f"{args.samples}/pictures.npz", pictures(data, classes, tokenizer, ar))


def main():
    parser = argparse.ArgumentParser(description="Draw, score and validate one checkpoint.")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("checkpoint", "tokenizer", "features", "samples", "metrics"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--teacher", help="given for checkpoints that hold an AR")
    parser.add_argument("--data", help="manifest of the images, where data.hold is stream")
    parser.add_argument("--encoder", help="given for checkpoints that read captions")
    args = parser.parse_args()
    evaluate(args.job, args)


if __name__ == "__main__":
    main()
