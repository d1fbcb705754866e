"""Small public checkpoints with random weights: their settings, states and files."""

import layouts
import torch

from gear import config

LAYOUT = {"vq": "llamagen-tokenizer", "lfq": "open-magvit2", "ibq": "ibq"}
LEVELS, GROUPS = 3, 4
SHARED = {"channels": 8, "multipliers": (1, 2, 2), "groups": GROUPS, "codebook_size": 32}
SMALL = {
    "vq": {"code_dim": 4, "z_channels": 12, "encoder_blocks": 2, "decoder_blocks": 3},
    "lfq": {"code_dim": 5, "z_channels": 5, "encoder_blocks": 2, "decoder_blocks": 2},
    "ibq": {"code_dim": 6, "z_channels": 12, "encoder_blocks": 2, "decoder_blocks": 3},
}
SMALL["lfq"]["network"] = "magvit2"
OTHERS = {
    "data": {"resolution": 16, "classes": 7},
    "loss": {"lpips": 0.0, "gan": 0.0, "disc_channels": 4, "disc_layers": 2},
    "align": {"projector_dim": 24},
}
NETWORKS = {
    kind: config.build({"tokenizer": {"quantizer": kind} | SHARED | own} | OTHERS)
    for kind, own in SMALL.items()
}
SIZES = {"b": {"layers": 2, "dim": 16, "heads": 2, "depth": {"default": 1}}}
SMALL_VQGAN = {"channels": 8, "multipliers": (1, 2, 2), "blocks": (2, 3), "z": 12, "codes": 32}
STATES = {
    "vq": layouts.vq(**SMALL_VQGAN, code=4),
    "lfq": layouts.lfq(channels=8, multipliers=(1, 2, 2), blocks=(2, 2), code=5),
    "ibq": layouts.ibq(**SMALL_VQGAN, code=6),
    "ar": layouts.llamagen(layers=2, dim=16, hidden=32, codes=32, classes=7),
    "text ar": layouts.llamagen_text(layers=2, dim=16, hidden=32, codes=32, width=6),
    "discriminator": layouts.patchgan(width=4, layers=2),
    "projectors": layouts.projectors(dim=16, hidden=24, target=10),
}


def state(name, seed=0):
    return layouts.random(STATES[name], seed)


def content(kind, average=True):
    """The public file of a tokenizer, with an average of other numbers where its layout has one."""
    if kind == "vq":
        return {"model": state("vq") | {"quantize.codebook_used": torch.zeros(9)}}
    return layouts.lightning(state(kind, 1), state(kind) if average else None)
