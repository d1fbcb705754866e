"""Drawing tokens: guidance, temperature, top-k, top-p, one seed per image.

- each key and value is computed once. On a CPU attention reads the positions so far and no
  others; on a GPU the steps have fixed shapes and are recorded (gear/sampling/replay.py)
- token of image i at position t: inverse of the cumulative distribution at u(seed_i, t), so that
  samples do not depend on batch size or on how many processes share the work
- logits = uncond + guidance (cond - uncond); the order is guidance, temperature, top-k, top-p
- the largest power of two of images that fits into the memory of a GPU is drawn at once

python -m gear.sampling.generate --job JSON --checkpoint DIR --output FILE.npz

Shapes: n images in all, B images at once, N tokens of an image, P slots of a prefix, D width of the
AR, K codes.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch

from gear import config
from gear.files.aside import aside
from gear.files.mistakes import Mistake
from gear.runtime import rng
from gear.runtime.device import setup, use
from gear.runtime.progress import counter, say
from gear.sampling import batches
from gear.sampling.conditions import Captions, Labels
from gear.sampling.inference import DTYPES, inference
from gear.sampling.replay import Replay
from gear.sampling.steps import Steps
from gear.t2i.load import load_ar
from gear.t2i.prompts import captions_of
from gear.t2i.text import load_encoder


@dataclass(frozen=True)
class Sampler:
    """A named way to draw images; the defaults are the paper's (Table 16)."""

    images: int
    guidance: float = 1.0
    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0  # 1: off
    labels: str = "uniform"  # uniform: each drawn at random | balanced: 0, 1, ..., 0, 1, ...
    seed: int = 0
    prompts: str = ""  # a set of captions of the study, instead of labels
    precision: str = "fp32"  # fp32 | bf16 (gear/sampling/inference.py)

    def __post_init__(self):
        if self.precision not in DTYPES:
            raise Mistake(f"`precision` is '{self.precision}'; it is {' or '.join(DTYPES)}.")
        if self.images < 1 or self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise Mistake(
                f"{self}: images must be at least 1, temperature above 0 and top_p in (0, 1]; "
                "correct the sampler in the study's file."
            )


def filtered(logits_BK, sampler):
    """Logits after temperature, top-k (ties kept) and top-p; what is ruled out is -inf."""
    logits = logits_BK.float()
    if sampler.temperature != 1:
        logits = logits / sampler.temperature
    if sampler.top_k:
        # the k-th largest of each row (B, 1); codes that tie with it stay
        least = logits.topk(min(sampler.top_k, logits.shape[-1]), -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampler.top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        p = ordered.softmax(-1)
        # the mass before each code, so that the code which reaches top_p is kept, and the best ever
        ruled_out = p.cumsum(-1) - p >= sampler.top_p
        # scatter takes the verdicts back to the codes' own order
        logits = logits.masked_fill(
            torch.zeros_like(ruled_out).scatter(-1, order, ruled_out), -torch.inf
        )
    return logits


def choose(logits_BK, u_B):
    """(B,) indices: the first code at which the cumulative probability exceeds u in [0, 1).

    The last code where the logits are not finite, so that a diverged run's evaluation ends too."""
    # float64: a sum over 16384 codes in float32 would move choices near an edge
    cumulative = logits_BK.double().softmax(-1).cumsum(-1)
    point = torch.as_tensor(u_B, dtype=torch.float64, device=logits_BK.device)[:, None]
    # times the last sum, which is not exactly 1; right: a code of probability 0 is never chosen
    indices = torch.searchsorted(cumulative, point * cumulative[:, -1:], right=True)[:, 0]
    return indices.clamp_max(logits_BK.shape[-1] - 1)


def uniforms(seeds_B, positions):
    """(N, B) float64 in [0, 1) for each position and image.

    Each token has an address of its own, so that no generator has a state to share."""
    return rng.uniform(("sampling",), seeds_B, np.arange(positions)[:, None])


class Drawer:
    """Draws batches of images with one AR and one sampler.

    fixed: whether all steps have one shape, as CUDA graphs need it. Default: on a GPU."""

    def __init__(self, ar, sampler, fixed=None):
        self.ar, self.sampler, self.guided = ar, sampler, sampler.guidance != 1.0
        self.network = inference(ar, sampler.precision, sampler.guidance)
        self.weight = self.network.embedding.weight
        self.gpu = self.records = batches.on_gpu(self.weight.device)
        self.fixed = self.gpu if fixed is None else fixed
        self.replay, self.shape = None, None

    @torch.no_grad()
    def __call__(self, prefix, seeds_B, null=None, report=lambda share: None):
        """Tokens (B, N) int64; see draw. report(share): called while the images are drawn."""
        if self.guided:  # 2 B rows: those with their condition, then the same images with the null
            null = self.ar.condition.null(len(seeds_B)) if null is None else null
            prefix = prefix.beside(null)
        prefix = prefix._replace(vectors_BPD=prefix.vectors_BPD.to(self.weight.dtype))
        # one copy to the device for all positions: each would wait for it
        u_NB = torch.from_numpy(uniforms(seeds_B, self.ar.length)).to(self.weight.device)
        return (self.by_replay if self.fixed else self.by_steps)(prefix, u_NB, report)

    def next_token(self, logits_BK, u_B):
        return choose(filtered(logits_BK, self.sampler), u_B)

    def by_steps(self, prefix, u_NB, report):
        steps, x_BSD, tokens = Steps(self.network, prefix), prefix.vectors_BPD, []
        for u_B in u_NB:
            tokens.append(self.next_token(steps.next_logits(x_BSD), u_B))
            # both halves read the token that was drawn: (B,) -> (B or 2 B, 1, D)
            x_BSD = self.network.embedding(tokens[-1])[:, None].repeat(1 + self.guided, 1, 1)
            report(len(tokens) / len(u_NB))
        return torch.stack(tokens, 1)

    def by_replay(self, prefix, u_NB, report):
        prefix, (N, B) = prefix.padded(self.ar.condition.slots), u_NB.shape
        if self.shape != (N, B):
            self.release()
            self.shape, rows = (N, B), len(prefix.vectors_BPD)
            self.replay = Replay(self.network, rows, B, self.next_token, self.records)
        tokens_BN = self.replay(prefix, u_NB, report)
        self.records = self.replay.recorded  # a recording that failed is not tried again
        return tokens_BN

    def release(self):
        """Give back the memory of the keys and values, and of the recorded steps."""
        self.replay = self.shape = None
        if self.gpu:
            torch.cuda.empty_cache()


def draw(ar, prefix, seeds_B, sampler, null=None):
    """Tokens (B, N) int64 for conditions, as a Prefix, and image seeds.

    null: the Prefix of as many images without their condition, which guidance needs. Default: that
    of an AR with classes."""
    return Drawer(ar, sampler)(prefix, seeds_B, null)


def draw_parts(ar, conditions, seeds, sampler, batch=None):
    """Yields tokens (B, N) int64 on the AR's device, of `batch` images at once.

    conditions: of gear/sampling/conditions.py, one for each of the seeds. batch: 256 on a CPU if
    it is None, and on a GPU the largest power of two that fits, which is found by trying. A batch
    for which a GPU has no memory is halved."""
    drawer, images, said = Drawer(ar, sampler), len(seeds), batch
    batch = batch or batches.to_try(drawer.network, ar.condition.slots, drawer.guided, images)
    report, begin = counter("images drawn", images), 0
    while begin < images:
        end = min(begin + batch, images)
        tokens = _part(drawer, conditions, seeds, begin, end, report)
        if tokens is None:
            batch //= 2
            drawer.release()
            continue
        if drawer.gpu and batch != said:
            said = batch
            say(f"{batch} images are drawn at once")
        begin = end
        yield tokens


def _part(drawer, conditions, seeds, begin, end, report):
    """Tokens of the images begin to end. None: the GPU has no memory for all of them at once."""
    count = end - begin
    try:
        null = conditions.null(count) if drawer.guided else None
        prefix = conditions.prefix(begin, end)
        return drawer(prefix, seeds[begin:end], null, lambda share: report(begin + share * count))
    except torch.OutOfMemoryError:
        if count == 1:
            raise
        return None  # no second try here: the error holds the memory until the function ends


def draw_all(ar, conditions, seeds, sampler, batch=None):
    """Tokens (n, N) int32 of all images; see draw_parts."""
    # one copy to the host for all of them: each would wait for the device
    tokens = torch.cat(list(draw_parts(ar, conditions, seeds, sampler, batch)))
    return tokens.cpu().numpy().astype(np.int32)


def seeds_of(sampler):
    """(n,) int64: the seed of each image, a function of the sampler's seed and its number."""
    # as long as a sampler has less than 10^9 images, no two samplers' seeds meet
    return np.arange(sampler.images, dtype=np.int64) + sampler.seed * 1_000_000_000


def requests(sampler, classes):
    """(labels, seeds) of all images of a sampler, functions of its seed and the image's number."""
    number, seeds = np.arange(sampler.images, dtype=np.int64), seeds_of(sampler)
    if sampler.labels == "balanced":
        return number % classes, seeds
    return (rng.uniform(("label",), seeds) * classes).astype(np.int64), seeds


def generate(ar, classes, sampler, batch=None):
    """{'tokens' (n, N) int32, 'labels' (n,), 'seeds' (n,)} of a whole sampler."""
    labels, seeds = requests(sampler, classes)
    tokens = draw_all(ar, Labels(ar, labels), seeds, sampler, batch)
    return {"tokens": tokens, "labels": labels.astype(np.int32), "seeds": seeds}


def generate_captions(ar, encoder, captions, sampler, seeds=None, batch=None):
    """{'tokens' (n, N) int32, 'prompts' (n,) int32, 'seeds' (n,), 'record' JSON} of a sampler.

    captions: of the prompts, each of which has as many images; image i is of prompt i // images.
    seeds: of the images, where they are not the sampler's own.
    Mistake: the sampler's images are no multiple of the prompts."""
    each, rest = divmod(sampler.images, len(captions))
    if rest or not each:
        raise Mistake(
            f"the sampler has {sampler.images} images for {len(captions)} prompts; set a multiple."
        )
    numbers = np.arange(sampler.images) // each
    seeds = seeds_of(sampler) if seeds is None else seeds
    conditions = Captions(ar, encoder, [captions[n] for n in numbers])
    tokens = draw_all(ar, conditions, seeds, sampler, batch)
    arrays = {"tokens": tokens, "prompts": numbers.astype(np.int32), "seeds": seeds}
    return arrays | {"record": np.array(json.dumps(record_of(sampler, captions)))}


def record_of(sampler, captions):
    """How the images of captions were drawn; every score of them states it."""
    # as the encoder reads them: half a pair of surrogates is no text, but JSON can hold it
    text = "\n".join(captions).encode("utf-8", "replace")
    record = {
        "guidance": sampler.guidance,
        "temperature": sampler.temperature,
        "top_k": sampler.top_k,
        "top_p": sampler.top_p,
        "images": sampler.images // len(captions),  # of a prompt
        "seed": sampler.seed,
        "prompts": len(captions),
        "prompts_sha256": hashlib.sha256(text).hexdigest(),
    }
    # records of before this setting have none
    lower = {"precision": sampler.precision} if sampler.precision != "fp32" else {}
    return record | lower


def save_arrays(path, arrays):
    """An uncompressed .npz, written aside; equal arrays give equal bytes."""
    with aside(path) as part, open(part, "wb") as handle:
        np.savez(handle, **arrays)


def main():
    parser = argparse.ArgumentParser(description="Draw the samples of one sampler.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument(
        "--encoder", help="folder of the text encoder, of an AR that reads captions"
    )
    parser.add_argument("--data", help="manifest of the captions")
    args = parser.parse_args()
    setup(config.build(args.job["settings"]))
    ar, settings = load_ar(args.checkpoint)
    ar, sampler = ar.to(use()), Sampler(**args.job["sampler"])
    if settings.reads_text:
        captions = captions_of(args.job["prompts"], args.data, settings)
        precision = settings.runtime.precision
        encoder = load_encoder(args.encoder, settings.text, precision, ar.head.weight.device)
        samples = generate_captions(ar, encoder, captions, sampler)
    else:
        samples = generate(ar, settings.data.classes, sampler)
    save_arrays(args.output, samples)


if __name__ == "__main__":
    main()
