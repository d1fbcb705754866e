"""The evaluation of one text-to-image checkpoint: samples, scores, likelihood, pictures.

gear/evaluation/checkpoint.py calls `evaluate` for a checkpoint that reads captions.
"""

import json

import numpy as np

from gear.alignment.teachers.load import load_teacher
from gear.data.captions import slant, stroke, words_of
from gear.data.sets import validation_set
from gear.evaluation import validate
from gear.evaluation.score import Scorer
from gear.files.aside import write_json
from gear.files.reading import status_of
from gear.metrics.following import NAMES, following
from gear.runtime.device import use
from gear.sampling.conditions import Captions
from gear.sampling.decode import decode, decoded
from gear.sampling.generate import Sampler, generate_captions, save_arrays
from gear.t2i.load import load_ar
from gear.t2i.prompts import captions_of
from gear.t2i.shown import shown
from gear.t2i.text import load_encoder
from gear.tokenizer.load import load_frozen


def wanted(captions):
    """{'digit', 'stroke', 'slant': (N,)} of N captions, or None if one of them names no digit."""
    words = [words_of(caption) for caption in captions]
    if any(found["digit"] is None for found in words):
        return None
    return {k: np.array([found[k] for found in words]) for k in ("digit", "stroke", "slant")}


class Seen:
    """What pictures of digits show, for gear/metrics/following.py.

    It is called with each batch of pictures, uint8 (n, C, H, W), and their Features."""

    def __init__(self):
        self.parts = {"digit": [], "stroke": [], "slant": []}

    def __call__(self, images, features):
        gray = images.cpu().numpy()[:, 0]
        self.parts["digit"].append(features.probs_NC.argmax(-1))
        self.parts["stroke"].append(stroke(gray))
        self.parts["slant"].append(slant(gray))

    def following(self, prompts, words):
        """The measures. prompts: (N,) the number of each picture's prompt; words: what the prompts
        want."""
        of_each = {name: values[prompts] for name, values in words.items()}
        return following(of_each, {name: np.concatenate(p) for name, p in self.parts.items()})


def scores(scorer, tokenizer, samples, captions, diverged=False):
    """{protocol: {metric: value}} of a sampler's samples, and their record.

    The protocol `following` is among them if all captions are of digits and the features are those
    of the stand-in classifier of digits. diverged: all values are None."""
    words = wanted(captions) if scorer.kind == "standin" else None
    record = {"record": json.loads(str(samples["record"]))}
    if diverged:
        return scorer.nothing() | ({"following": dict.fromkeys(NAMES)} if words else {}) | record
    if words is None:
        return scorer.of_samples(tokenizer, samples)
    seen = Seen()
    found = scorer(decoded(tokenizer, samples["tokens"]), seen)
    return found | {"following": seen.following(samples["prompts"], words)} | record


def pictures(ar, encoder, tokenizer, captions):
    """{array: values} for the figures of pictures, for each Group of gear/t2i/shown.py.

    `<name>` is uint8 (prompts, pictures of each, H, W, C); `<name>_prompts` has the texts and
    `<name>_unseen` a bool of each."""
    arrays = {}
    for name, group in shown(captions).items():
        sampler = Sampler(len(group.prompts) * group.each, group.guidance)
        seeds = np.tile(np.arange(group.each), len(group.prompts)) if group.one_seed else None
        drawn = generate_captions(ar, encoder, group.prompts, sampler, seeds)
        images = decode(tokenizer, drawn["tokens"]).permute(0, 2, 3, 1)
        arrays[name] = images.unflatten(0, (len(group.prompts), group.each)).contiguous().numpy()
        arrays[f"{name}_prompts"] = np.array(group.prompts)
        arrays[f"{name}_unseen"] = np.array(group.unseen)
    return arrays


def remembered(encoder):
    """The encoder as a function that keeps what it made of each list of captions.

    All samplers of a set draw the same lists, and the pictures of small studies are few."""
    known = {}

    def encoded(captions):
        key = tuple(captions)
        if key not in known:
            known[key] = encoder(captions)
        return known[key]

    return encoded


def evaluate(job, args, settings):
    """Write every declared file of one checkpoint.

    job: the rule's JSON; args: its options; settings: config.Settings. Scores are null if the
    checkpoint, or the tokenizer that it froze, diverged."""
    device = use()
    scorer = Scorer(job["text"], args.features, device)
    data = validation_set(settings, args.data)
    diverged = "diverged" in map(status_of, (args.checkpoint, args.tokenizer))
    tokenizer = load_frozen(args.tokenizer).to(device)
    ar, own = load_ar(args.checkpoint)
    ar = ar.to(device)
    encoder = remembered(load_encoder(args.encoder, own.text, own.runtime.precision, device))
    sets = {name: captions_of(entry, args.data, own) for name, entry in job["prompts"].items()}
    for name, chosen in job["samplers"].items():
        sampler = Sampler(**chosen)
        captions = sets[sampler.prompts]
        samples = generate_captions(ar, encoder, captions, sampler)
        save_arrays(f"{args.samples}/{name}.npz", samples)
        found = scores(scorer, tokenizer, samples, captions, diverged)
        write_json(f"{args.metrics}/{name}.json", found)
    captions = data.captions(0, len(data))
    found = dict.fromkeys(validate.LIKELIHOOD)
    if not diverged:
        teacher = load_teacher(args.teacher, settings.data)
        found = validate.likelihood(
            args.checkpoint,
            tokenizer,
            data,
            teacher,
            conditions_of=lambda network: Captions(network, encoder, captions),
        )
    write_json(f"{args.metrics}/validation.json", {"likelihood": found})
    first = next(iter(sets.values()), captions)
    save_arrays(f"{args.samples}/pictures.npz", pictures(ar, encoder, tokenizer, first))
