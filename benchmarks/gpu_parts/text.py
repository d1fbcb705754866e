"""Captions, a text encoder and a text-to-image AR, all random, for benchmarks/gpu.py."""

from types import SimpleNamespace

import torch

from gear.plan.costs import ENCODERS
from gear.study.stages import STAGES
from gear.t2i import text_standin
from gear.t2i.text import TextEncoder
from gear.t2i.transformer import Text, TextTransformer

SHARDS = {"data__source": "shards", "data__hold": "stream"}
SIZES = {
    "tiny": {"text__slots": 6, "text__width": 32},
    "reduced": {"text__slots": 48, "text__width": 256},
    "paper": {},  # the defaults: 300 slots, Qwen3-1.7B's width
}
HEADS, VOCABULARY = 4, 300


def changes(stage, size):
    """What a stage's settings have besides those of the others; size: of SIZES."""
    return SHARDS | SIZES[size] if STAGES[stage].reads_text else {}


def captions(settings, count):
    """Of three lengths; the first fills all slots: a digit is a token."""
    slots = settings.text.slots
    return tuple("7" * (slots, slots // 2, 1)[number % 3] for number in range(count))


def spec(text):
    """The study's text_encoder, from which FLOPs are counted."""
    if text.width in ENCODERS:
        return {"kind": "pretrained", "label": "Qwen3-1.7B"}
    return {"kind": "standin", "layers": 2, "heads": HEADS, "vocabulary": VOCABULARY}


def encoder(settings, device):
    """gear's TextEncoder of a Qwen3 with random weights, in the precision of the settings.

    Of the paper's width it is made on the device. A smaller one is made on the CPU, so that it is
    the same on every device."""
    from transformers import AutoModel, Qwen3Config

    width = settings.text.width
    known = ENCODERS.get(width)
    shape = known or (2, HEADS, HEADS // 2, width // HEADS, 3 * width, VOCABULARY)
    names = "num_hidden_layers num_attention_heads num_key_value_heads head_dim"
    names = f"{names} intermediate_size vocab_size".split()
    config = Qwen3Config(hidden_size=width, **dict(zip(names, shape, strict=True)))
    dtype = torch.bfloat16 if settings.runtime.precision == "bf16" else torch.float32
    torch.manual_seed(6)
    with torch.device(device if known else "cpu"):
        network = AutoModel.from_config(config, attn_implementation="sdpa", dtype=dtype)
        tokenizer = text_standin.learn(["7", "a bold seven"], VOCABULARY)
    pad = tokenizer.token_to_id(text_standin.PAD)
    return TextEncoder(network.to(device), tokenizer, pad, settings.text.slots)


def random_ar(settings, device, std, dtype=torch.float32):
    """A frozen AR. std: of its head, which trainings begin with zeros."""
    side = settings.data.resolution // settings.tokenizer.downsampling
    codes = settings.tokenizer.codebook_size
    with torch.device(device):
        ar = TextTransformer(settings.ar, codes, settings.text, side)
        torch.nn.init.normal_(ar.head.weight, 0.0, std)
    return ar.eval().requires_grad_(False).to(dtype)


def prefixes(ar, settings, count):
    """(Prefix of `count` captions, that of as many empty captions), of random features."""
    slots, device = settings.text.slots, ar.head.weight.device
    features_BPC = torch.randn(count, slots, settings.text.width, device=device)
    lengths_B = torch.tensor([len(text) for text in captions(settings, count)], device=device)
    visible_BP = torch.arange(slots, device=device) < lengths_B[:, None]
    empty = Text(features_BPC[:1, :1].repeat(count, 1, 1), torch.zeros_like(visible_BP[:, :1]))
    return ar.condition(Text(features_BPC, visible_BP)), ar.condition(empty)


def study(settings, teachers):
    """What gear.plan.costs reads of a study."""
    return SimpleNamespace(spec={"teachers": teachers, "text_encoder": spec(settings.text)})
