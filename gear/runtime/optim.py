"""AdamW, gradient clipping, learning-rate warm-up and the exponential moving average."""

import copy
from contextlib import contextmanager

import torch

from gear.runtime import distributed


def adamw(parameters, lr, optim):
    """AdamW as in Table 16; `optim` is config.Optim."""
    return torch.optim.AdamW(
        list(parameters), lr=lr, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
    )


def warmup_factor(step, warmup):
    """Factor of the learning rate at optimizer step `step` (from 0): linear from 0, then 1."""
    return min(1.0, step / warmup) if warmup else 1.0


def update(losses, count, optimizer, lr, clip):
    """One optimizer step on the mean of `count` losses over all processes.

    losses: an iterable that computes each loss when its turn comes, so that only one micro-batch
    is held at a time. Returns the gradient norm before clipping, a 0-d tensor."""
    parameters = optimizer.param_groups[0]["params"]
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        (loss / count if count > 1 else loss).backward()
        del loss
    distributed.average_([p.grad for p in parameters if p.grad is not None])
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip, foreach=True)
    optimizer.step()
    return norm


def mean_of(rows):
    """One dictionary of 0-d tensors from several, one for each micro-batch."""
    if len(rows) == 1:
        return dict(rows[0])
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


@contextmanager
def frozen(*modules):
    """Inside, the modules' parameters are constants; gradients still pass through them."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


class EMA:
    """Exponential moving average of a module's parameters and floating-point buffers."""

    def __init__(self, module, decay, warmup=False):
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.warmup = decay, warmup

    @torch.no_grad()
    def update(self, module, step):
        """Move towards `module` after optimizer step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        averages, values = self._floats(self.module), self._floats(module)
        torch._foreach_lerp_(averages, values, 1 - decay)

    @staticmethod
    def _floats(module):
        state = module.state_dict().values()
        return [v for v in state if v.is_floating_point()]
