"""Speed and memory of networks: the settings `runtime.channels_last`, `recompute`, `compile`.

They change a network in place. They change its results only by the rounding of float additions,
and they do not change the names of its weights.
"""

import torch
from torch.utils.checkpoint import checkpoint

VERSIONS = 64  # compiled versions of a block: one for each width, resolution and mode


def tune(runtime, networks, blocks):
    """Apply the settings to networks and blocks, in place.

    networks: modules whose convolutions get the memory format; blocks: parts of networks that are
    recomputed and compiled. Blocks are compiled one by one, so equal blocks share compiled code."""
    if runtime.channels_last:
        for network in networks:
            network.to(memory_format=torch.channels_last)
    if runtime.compile:
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
    """Give an optimizer's state the memory format of its parameters.

    The fused update reads both in the order of memory. A loaded state may have another format."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)
