"""The AR as drawing uses it: a copy with equal weights whose layers are faster.

- precision bf16: on a GPU the whole network is in bfloat16. On a CPU its linear layers are; the
  rest is not, because torch's attention to one position is slower in bfloat16 there
- the head sees one state of an image. With guidance that is uncond + guidance (cond - uncond): the
  head is linear, so that the logits are those of guidance, for half of the products
- on a CPU the weights of linear layers lie in the order in which oneDNN reads them. MKL, which
  torch takes for float32, would put them into its own order for each token. oneDNN also sums an
  image's products in the same order in every batch, which MKL does not if there are few rows

Shapes: B rows, S positions, D width, K codes.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}  # as runtime.precision


class Packed(nn.Module):
    """A linear layer without bias, on a CPU, in the precision of a weight (float32 | bfloat16)."""

    def __init__(self, weight):
        super().__init__()
        self.dtype, self.packed = weight.dtype, packs(weight)
        weight = weight.detach()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self.packed else weight

    def forward(self, x):
        low = x.to(self.dtype)
        if not self.packed:
            return F.linear(low, self.weight).to(x.dtype)
        # a row that is alone stands there twice: oneDNN sums one row in another order than several
        alone = low.numel() == low.shape[-1]
        rows = low.expand(2, *low.shape[1:]) if alone else low
        y = torch.ops.mkldnn._linear_pointwise(rows, self.weight, None, "none", [], "")
        return y[: len(x)].to(x.dtype)


def packs(weight):
    """Whether this torch and this machine can pack a weight."""
    if not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32


class Norm(nn.Module):
    """nn.RMSNorm of float32 in fewer passes than torch makes on a CPU."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x_BSD):
        # the root of the sum of squares is one pass; the rest are B S numbers
        root_BS1 = torch.linalg.vector_norm(x_BSD, dim=-1, keepdim=True)
        scale_BS1 = (root_BS1.square() / x_BSD.shape[-1] + self.eps).rsqrt()
        return x_BSD * scale_BS1 * self.weight


class Guided(nn.Module):
    """The head of a batch whose first half has its condition and whose second half has the null."""

    def __init__(self, head, guidance):
        super().__init__()
        self.head, self.guidance = head, guidance

    def forward(self, x_BSD):
        cond, uncond = x_BSD.chunk(2)
        # (2 B, S, D) -> (B, S, D) -> (B, S, K); uncond + guidance (cond - uncond), rounded once
        return self.head(torch.lerp(uncond, cond, self.guidance))


def on_cpu(network, dtype):
    """The network with its layers replaced; dtype: of the linear layers."""
    parents = [m for m in network.modules() if not isinstance(m, nn.Linear | nn.RMSNorm)]
    for parent in parents:
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, name, Packed(child.weight.to(dtype)))
            elif isinstance(child, nn.RMSNorm) and child.weight.dtype == torch.float32:
                setattr(parent, name, Norm(child))
    return network


def inference(ar, precision="fp32", guidance=1.0):
    """The copy of an AR for one precision and guidance; weights that need no change are shared.

    precision fp32: as the AR has it."""
    weight = ar.embedding.weight
    dtype = weight.dtype if precision == "fp32" else DTYPES[precision]
    host = weight.device.type == "cpu"
    memo = {id(x): x for x in (*ar.parameters(), *ar.buffers())}  # deepcopy copies none of these
    if not host and weight.dtype != dtype:
        memo |= {id(p): nn.Parameter(p.to(dtype), requires_grad=False) for p in ar.parameters()}
    network = copy.deepcopy(ar, memo).eval()
    if host:
        network = on_cpu(network, dtype)
    if guidance != 1.0:
        network.head = Guided(network.head, guidance)
    return network
