"""How networks run, by the settings `runtime.channels_last`, `recompute` and `compile`.

None of them changes what a network computes beyond the rounding of float additions, nor the names
of its weights: each works in place.
"""

import torch
from torch.utils.checkpoint import checkpoint

VERSIONS = 64


def tune(runtime, networks, blocks):
    """networks: modules whose convolutions get the memory format; blocks: their parts that are
    recomputed and compiled, each on its own, so that equal ones share what is compiled."""
    if runtime.channels_last:
        for network in networks:
            network.to(memory_format=torch.channels_last)
    if runtime.compile:
        # one for each width, resolution and mode of a tokenizer's blocks
        torch._dynamo.config.recompile_limit = VERSIONS
    for block in blocks:
        if runtime.recompute:
            block.forward = _recomputed(block.forward)
        if runtime.compile:
            block.compile()


def _recomputed(forward):
    def run(*arguments):
        if not torch.is_grad_enabled():
            return forward(*arguments)
        return checkpoint(forward, *arguments, use_reentrant=False)

    return run


def match_layout(optimizer):
    """Give an optimizer's state the memory format of its parameters, which a loaded one need not
    have: the fused update walks through both in the order of memory."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)
