"""Differentiable reductions of the assignment and the head's loss, without a tensor N x K.

S = scale features codes^T is computed in Triton kernels (gpu.py) on a GPU, else a chunk of rows at
a time (chunked.py). The logits of the head are in chunks on every device. Features and codes are
float32, also under autocast. The shift of A changes no softmax and no argmax, so S has none.

Shapes: N positions, K codes, D code width, W width of a table.
"""

import math

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gear import kernels
from gear.kernels import chunked


def plain(device):
    """A context without autocast, in which every product has the dtype of its factors."""
    return torch.autocast(device.type, enabled=False)


class Entropies(Function):
    """(entropy of each row (N,) in nats, mean over the rows (K,)) of softmax(S)."""

    @staticmethod
    def forward(ctx, features_ND, codes_KD, scale):
        with plain(features_ND.device):
            statistics, entropy_N, mean_K = kernels.of(features_ND.device).entropy(
                features_ND, codes_KD, scale
            )
        ctx.scale = scale
        ctx.save_for_backward(features_ND, codes_KD, statistics, entropy_N)
        return entropy_N, mean_K

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_N, grad_K):
        features_ND, codes_KD, statistics, entropy_N = ctx.saved_tensors
        with plain(features_ND.device):
            gradients = kernels.of(features_ND.device).entropy_grad(
                features_ND, codes_KD, ctx.scale, statistics, entropy_N, grad_N, grad_K
            )
        return *gradients, None


class Read(Function):
    """u (N, W) = softmax(S) E, in the dtype of the table E.

    indices_N: None, or the argmax of S: the value is then the table's row, the gradient that of the
    softmax (straight-through)."""

    @staticmethod
    def forward(ctx, features_ND, codes_KD, table_KW, scale, indices_N):
        ctx.scale, statistics = scale, None
        if indices_N is None:
            with plain(features_ND.device):
                statistics, u_NW = kernels.of(features_ND.device).read(
                    features_ND, codes_KD, scale, table_KW
                )
        else:
            u_NW = table_KW[indices_N]
        ctx.save_for_backward(features_ND, codes_KD, table_KW, statistics, indices_N)
        return u_NW

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_NW):
        features_ND, codes_KD, table_KW, statistics, indices_N = ctx.saved_tensors
        soft = indices_N is None
        wants_table, grad_NW = ctx.needs_input_grad[2], grad_NW.contiguous()
        form = kernels.of(features_ND.device)
        with plain(features_ND.device):
            if not soft:  # the value needed no softmax; nor does a table without columns
                statistics = form.read(features_ND, codes_KD, ctx.scale, table_KW[:, :0])[0]
            of_features, of_codes, of_table = form.read_grad(
                features_ND,
                codes_KD,
                ctx.scale,
                table_KW,
                statistics,
                grad_NW,
                wants_table and soft,
            )
        if wants_table and not soft:
            of_table = torch.zeros_like(table_KW).index_add_(0, indices_N, grad_NW)
        return of_features, of_codes, of_table, None, None


class CrossEntropy(Function):
    """The mean over N rows of -log softmax(x weight^T)[target], a 0-d float32 tensor.

    x (N, W) and weight (K, W) have one dtype; the softmax is float32. The gradients are computed in
    the forward pass, a chunk of logits at a time."""

    @staticmethod
    def forward(ctx, x_NW, weight_KW, target_N):
        loss = x_NW.new_zeros((), dtype=torch.float32)
        of_x, of_weight = torch.empty_like(x_NW), torch.zeros_like(weight_KW, dtype=torch.float32)
        rows = max(1, chunked.ELEMENTS // len(weight_KW))
        with plain(x_NW.device):
            for x_RW, target_R, of_x_RW in zip(
                x_NW.split(rows), target_N.split(rows), of_x.split(rows), strict=True
            ):
                loss += _cross_entropy(x_RW, weight_KW, target_R, len(x_NW), of_x_RW, of_weight)
        ctx.save_for_backward(of_x, of_weight)
        ctx.dtype = weight_KW.dtype
        return loss / len(x_NW)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        of_x, of_weight = ctx.saved_tensors
        return of_x * grad.to(of_x.dtype), (of_weight * grad).to(ctx.dtype), None


def _cross_entropy(x_RW, weight_KW, target_R, count, of_x_RW, of_weight_KW):
    """The sum over the rows; writes the gradient of x and adds that of the weight, both of the
    mean over `count` rows."""
    logits_RK = (x_RW @ weight_KW.T).float()
    logits_RK.sub_(logits_RK.amax(1, keepdim=True))
    picked_R1 = logits_RK.gather(1, target_R[:, None])
    exp_RK = logits_RK.mul_(1 / math.log(2)).exp2_()
    total_R1 = exp_RK.sum(1, keepdim=True)
    loss = (total_R1.log() - picked_R1).sum()
    # softmax - one_hot
    grad_RK = exp_RK.div_(total_R1 * count)
    grad_RK.scatter_add_(1, target_R[:, None], torch.full_like(picked_R1, -1 / count))
    grad_RK = grad_RK.to(x_RW.dtype)
    torch.mm(grad_RK, weight_KW, out=of_x_RW)
    of_weight_KW += grad_RK.T @ x_RW
    return loss
