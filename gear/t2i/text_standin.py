"""Make the stand-in for the text encoder: a small Qwen3 of random weights, with a tokenizer.

The tokenizer is byte-level BPE. Its merges are learned from the captions of the training shards.
The weights are never trained. Their features differ between captions, but have no meaning. Every
random number has an address, so equal captions and settings give equal bytes.

python -m gear.t2i.text_standin --job JSON --data MANIFEST --output DIR
"""

import argparse
import json
import math
import os
import tempfile
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch

from gear import config
from gear.data.shards import ShardSet
from gear.files.aside import aside, write, write_json
from gear.files.mistakes import Mistake
from gear.files.reading import read_record, required
from gear.runtime import rng
from gear.t2i.text_folder import write_record

PAD = "<|endoftext|>"
BYTES = 256  # entries for single bytes, with which every caption can be written
STD = 0.02  # of the weights' normal distribution, as Qwen3's
# Qwen3's cut of a text into words: contractions, letters, single digits, signs, spaces
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def learn(captions, vocabulary):
    """A tokenizers.Tokenizer of at most `vocabulary` entries, the pad token with them."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if vocabulary <= BYTES:
        raise Mistake(f"text_encoder.vocabulary is {vocabulary}; it must be above {BYTES}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def network(spec, width, entries, pad):
    """transformers' Qwen3Model of `spec` with weights that are a function of its seed.

    entries: of the vocabulary; pad: number of the pad token."""
    from transformers import Qwen3Config, Qwen3Model

    heads = spec["heads"]
    if width % heads or width // heads % 2:
        raise Mistake(
            f"text.width {width} makes no even head width in {heads} heads; change "
            "text_encoder.heads."
        )
    config = Qwen3Config(
        vocab_size=entries,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=spec["layers"],
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        head_dim=width // heads,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=pad,
        tie_word_embeddings=True,
    )
    made = Qwen3Model(config)
    for name, values in made.state_dict().items():
        if name.endswith("norm.weight"):
            values.fill_(1)
        else:
            values.copy_(normal((spec["seed"], "text encoder", name), values.shape))
    return made


def normal(address, shape):
    """float32 of N(0, STD) at an address, by the inverse of the distribution function."""
    u = rng.uniform(address, np.arange(math.prod(shape)))
    inverse = NormalDist(0, STD).inv_cdf
    # u is a multiple of 2^-53 and may be 0, where the inverse has no value
    values = np.fromiter((inverse(x) for x in u + 2.0**-54), np.float64, len(u))
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def train_captions(manifest):
    """The captions of the training shards of prepare_captions' manifest.json, in its order."""
    path = required(read_record(manifest), "path", str, manifest)
    data = config.Data(source="shards", path=path)
    shards = ShardSet(data, manifest, "train", batch=1, seed=0, workers=0)
    return shards.captions(0, len(shards))


def make(captions, spec, text, folder):
    """Write the stand-in that learned its merges from `captions`, an iterable of str.

    spec: the study's text_encoder {layers, heads, vocabulary, seed, label}; text: {slots, width}.
    Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json, run.json."""
    from safetensors.torch import save_file

    tokenizer = learn(captions, spec["vocabulary"])
    made = network(spec, text["width"], tokenizer.get_vocab_size(), tokenizer.token_to_id(PAD))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:  # transformers names the files itself
        made.config.architectures = ["Qwen3Model"]
        made.config.save_pretrained(scratch)
        write(folder / "config.json", Path(scratch, "config.json").read_bytes())
    with aside(folder / "model.safetensors") as part:
        save_file(made.state_dict(), part, metadata={"format": "pt"})
    write(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "eos_token": PAD,
            "model_max_length": text["slots"],
            "padding_side": "right",
        },
    )
    write_record(folder, "standin", spec, text, {"parameters": made.num_parameters()})


def main():
    parser = argparse.ArgumentParser(description="Make the stand-in text encoder.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--data", required=True, help="manifest of prepare_captions")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    make(train_captions(args.data), args.job["spec"], args.job["text"], args.output)


if __name__ == "__main__":
    main()
