"""AdamW, gradient clipping, learning-rate warm-up and the exponential moving average."""

import copy
from contextlib import contextmanager

import torch

from gear.runtime import distributed


def adamw(parameters, lr, optim):
    """AdamW with the settings of config.Optim (paper Table 16)."""
    return torch.optim.AdamW(
        list(parameters), lr=lr, betas=optim.betas, weight_decay=optim.weight_decay, fused=True
    )


def warmup_factor(step, warmup):
    """Factor of the learning rate at optimizer step `step`, from 0.

    The factor grows linearly from 0 over `warmup` steps, then it is 1."""
    return min(1.0, step / warmup) if warmup else 1.0


def update(losses, count, optimizer, lr, clip):
    """The gradient norm before clipping, a 0-d tensor, of one optimizer step.

    The step is on the mean of `count` losses over all processes. losses: an iterable that computes
    each loss only when asked, so only one micro-batch is in memory at a time."""
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
    """{metric: mean over the rows}, 0-d tensors; a row for each micro-batch."""
    if len(rows) == 1:
        return dict(rows[0])
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


@contextmanager
def frozen(*modules):
    """Within the block the parameters are constants; gradients pass through the modules."""
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
        self.pairs = None  # (module, its values, their averages); the lists take a millisecond

    @torch.no_grad()
    def update(self, module, step):
        """Average the values of `module` after optimizer step `step`, from 0.

        All updates must leave the module's tensors where they are in memory, as optimizers do."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        if self.pairs is None or self.pairs[0] is not module:
            self.pairs = module, self._floats(module), self._floats(self.module)
        _, values, averages = self.pairs
        torch._foreach_lerp_(averages, values, 1 - decay)

    @staticmethod
    def _floats(module):
        state = module.state_dict().values()
        return [v for v in state if v.is_floating_point()]
