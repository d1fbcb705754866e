"""Pictures of COCO's captions: FID against COCO's images, and the CLIP score (paper Table 3).

The published driver takes 5,000 image-caption pairs of COCO 2017 val. FID is that of pytorch-fid's
Inception at 256 pixels; the CLIP score is 100 times the mean cosine, by CLIP ViT-B/32.

python -m gear.evaluation.coco --job JSON --samples FILE.npz --tokenizer DIR --output FILE.json
"""

import argparse
import json

from gear import config
from gear.evaluation import networks, reference
from gear.evaluation.score import load_samples
from gear.features.clip import Clip
from gear.files.aside import write_json
from gear.files.mistakes import Mistake
from gear.metrics.clip_score import clip_score
from gear.metrics.protocol import Summary, measured
from gear.runtime.device import setup, use
from gear.sampling.decode import decoded
from gear.t2i.prompts import captions_of
from gear.tokenizer.load import load_frozen


def scores(extract, real, clip, batches, captions):
    """{'coco': {'fid'}, 'clip': {'clip_score'}} of pictures, one for each caption.

    extract, real: networks.Extractor and Reference of the protocol coco; clip: features.clip.Clip;
    batches: a function that yields uint8 images (n, 3, H, W)."""
    fake = Summary.of(extract.protocol, map(extract, batches()))
    values, _ = measured(extract.protocol, fake, real.summary, {"images": len(captions)})
    return {"coco": values, "clip": {"clip_score": clip_score(clip, batches(), captions)}}


def main():
    parser = argparse.ArgumentParser(description="Score pictures of COCO's captions.")
    parser.add_argument("--job", required=True, type=json.loads)
    for name in ("samples", "tokenizer", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    settings, spec = config.build(args.job["settings"]), args.job["spec"]
    setup(settings)
    device = use()
    extract = networks.load("coco", spec["inception"], device=device)
    batch = networks.BATCH[device.type]
    real = reference.load(spec["reference"], extract, batch)
    clip = Clip(spec["clip"], device=device)
    captions = captions_of(args.job["prompts"], None, settings)
    samples = load_samples(args.samples)
    if len(samples["tokens"]) != len(captions):
        raise Mistake(
            f"{args.samples} holds {len(samples['tokens'])} images for {len(captions)} captions; "
            "remove it and draw again."
        )
    tokenizer = load_frozen(args.tokenizer).to(device)
    found = scores(
        extract, real, clip, lambda: decoded(tokenizer, samples["tokens"], batch), captions
    )
    write_json(args.output, found | {"record": json.loads(str(samples["record"]))})


if __name__ == "__main__":
    main()
