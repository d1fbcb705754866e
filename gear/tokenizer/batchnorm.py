"""Batch normalisation over the batch of all processes (arXiv 1502.03167)."""

import torch
from torch import nn

from gear.runtime import distributed


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d on (B, C, H, W) with statistics over the B of all processes.

    torch's SyncBatchNorm needs GPUs; this class also works on a CPU. It has the parameters and
    buffers of BatchNorm2d, and with one process it computes the same. All processes must have the
    same B."""

    def forward(self, x_BCHW):
        if not self.training or distributed.size() == 1:
            return super().forward(x_BCHW)
        x = x_BCHW.float()
        mean_C = distributed.mean(x.mean((0, 2, 3)))
        centred = x - mean_C[:, None, None]
        var_C = distributed.mean(centred.square().mean((0, 2, 3)))
        with torch.no_grad():
            count = distributed.size() * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale_C = self.weight * (var_C + self.eps).rsqrt()
        y = centred * scale_C[:, None, None] + self.bias[:, None, None]
        return y.type_as(x_BCHW)
