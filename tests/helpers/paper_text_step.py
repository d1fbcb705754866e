"""One optimizer step of the paper's text-to-image AR on the CPU: batch 1 in float32, recomputed.

python paper_text_step.py    prints what happened as JSON

A process of its own, so that its memory is returned. A caption of all 300 slots, tokens and the
teacher's features are random.
"""

import json
import resource
import time
import zlib

import torch
import torch.nn.functional as F
from torch import nn

from gear import config
from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.runtime import optim
from gear.runtime.tune import tune
from gear.t2i.transformer import Text, TextTransformer

LAYER = 12
SETTINGS = config.build(
    {
        **{"ar.size": "1b", "ar.layers": 36, "ar.dim": 1440, "ar.heads": 20},
        **{"ar.prefix_rope": "zero", "data.source": "shards", "runtime.recompute": True},
    }
)


def checksums(modules):
    """A copy of the weights would need their memory again."""
    named = ((n, p) for m in modules for n, p in m.named_parameters())
    return {name: zlib.crc32(parameter.detach().numpy()) for name, parameter in named}


def main():
    codes, text = SETTINGS.tokenizer.codebook_size, SETTINGS.text
    ar = TextTransformer(SETTINGS.ar, codes, text, 16).train()
    head = projector(SETTINGS.ar.dim, SETTINGS.align.projector_dim, 768)
    tune(SETTINGS.runtime, [], ar.blocks)
    optimizer = optim.adamw([*ar.parameters(), *head.parameters()], 1e-4, SETTINGS.optim)
    caption = torch.randn(1, text.slots, text.width)
    visible, target = torch.ones(1, text.slots, dtype=torch.bool), torch.randn(1, 256, 768)
    tokens, metrics = torch.randint(codes, (1, 256)), {}

    def losses():
        prefix = ar.condition(Text(caption, visible))
        logits, tap = ar(ar.embedding(tokens[:, :-1]), prefix, tap=LAYER)
        ntp = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
        align = alignment_loss(head(tap), target)
        metrics.update(ntp=ntp.item(), align=align.item())
        yield ntp + SETTINGS.align.weight * align

    before, start = checksums([ar]), time.monotonic()
    norm = optim.update(losses(), 1, optimizer, 1e-4, SETTINGS.optim.clip)
    seconds, after = time.monotonic() - start, checksums([ar])
    result = {
        "seconds": round(seconds, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "metrics": metrics | {"grad_ar": norm.item()},
        "parameters": {name: count(m) for name, m in (("ar", ar), ("projector", head))},
        "unchanged": [key for key in before if before[key] == after[key]],
    }
    print(json.dumps(result))


def count(module: nn.Module):
    return sum(p.numel() for p in module.parameters())


if __name__ == "__main__":
    main()
