"""AdamW, gradient clipping, learning-rate warm-up and the exponential moving average."""

import copy
from contextlib import contextmanager

import torch


def adamw(parameters, lr, optim):
    """AdamW as in Table 16; `optim` is config.Optim."""
    return torch.optim.AdamW(
        list(parameters), lr=lr, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
    )


def warmup_factor(step, warmup):
    """Factor of the learning rate at optimizer step `step` (from 0): linear from 0, then 1."""
    return min(1.0, step / warmup) if warmup else 1.0


def update(loss, optimizer, lr, clip):
    """One optimizer step on `loss`. Returns the gradient norm before clipping, a 0-d tensor."""
    parameters = optimizer.param_groups[0]["params"]
    optimizer.param_groups[0]["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip, foreach=True)
    optimizer.step()
    return norm


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
        mine, theirs = self._floats(self.module), self._floats(module)
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    @staticmethod
    def _floats(module):
        state = module.state_dict().values()
        return [v for v in state if v.is_floating_point()]
