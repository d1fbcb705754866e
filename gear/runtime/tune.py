"""Speed and memory of networks: the settings `runtime.channels_last`, `recompute`, `compile`.

They change a network in place. They change its results only by the rounding of float additions,
and they do not change the names of its weights.
"""

import torch
from torch.utils.checkpoint import checkpoint

from gear.files.reading import reason_of
from gear.runtime.progress import say

# Backward passes are compiled with the forward pass. Otherwise an error in their compilation would
# come in the backward pass, where no block can be run again.
EARLY = "force_non_lazy_backward_lowering"
VERSIONS = 64  # compiled versions of a block: one for each width, resolution and mode


def tune(runtime, networks, blocks):
    """Apply the settings to networks and blocks, in place.

    networks: modules whose convolutions get the memory format; blocks: parts of networks that are
    recomputed and compiled. Blocks are compiled one by one, so equal blocks share compiled code.
    Where compilation fails, none of the blocks is compiled, and a line says why."""
    if runtime.channels_last:
        for network in networks:
            network.to(memory_format=torch.channels_last)
    if runtime.compile:
        torch._dynamo.config.recompile_limit = VERSIONS
        if hasattr(torch._functorch.config, EARLY):
            setattr(torch._functorch.config, EARLY, True)
    failures = []
    for block in blocks:
        if runtime.recompute:
            block.forward = _recomputed(block.forward)
        if runtime.compile:
            _compile(block, failures)


def _recomputed(forward):
    def run(*arguments):
        if not torch.is_grad_enabled():
            return forward(*arguments)
        return checkpoint(forward, *arguments, use_reentrant=False)

    return run


def _compile(block, failures):
    """Compile a block at its first call; after the first failure the blocks run uncompiled.

    failures: a list that all blocks share. An error that is not the compiler's comes again."""
    block.compile()
    compiled = block._compiled_call_impl

    def call(*arguments, **keywords):
        if not failures:
            try:
                return compiled(*arguments, **keywords)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                failures.append(reason_of(error))
                say(f"warning: runtime.compile failed, the run goes on without it: {failures[0]}")
        return block._call_impl(*arguments, **keywords)

    block._compiled_call_impl = call


def match_layout(optimizer):
    """Give an optimizer's state the memory format of its parameters.

    The fused update reads both in the order of memory. A loaded state may have another format."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)
