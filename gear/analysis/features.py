"""The features that are compared with the teacher's patch features, position by position.

Shapes: B images, N positions in raster order, D width (the code's, the AR's).
"""

import torch
import torch.nn.functional as F

from gear.ar.transformer import predicting


@torch.no_grad()
def tokenizer_features(tokenizer, images_BCHW):
    """(tokens (B, N), {'pre': (B, N, D), 'post': (B, N, D)}) of images in [-1, 1].

    pre: the encoder's output after quant_conv; post: the code vectors, the decoder's input. For VQ
    both are unit vectors, because VQ measures distances on the unit sphere."""
    z_BND = tokenizer.encode(images_BCHW)
    tokens_BN = tokenizer.quantizer.assignment(z_BND).hard()
    if tokenizer.config.quantizer == "vq":
        z_BND = F.normalize(z_BND.float(), dim=-1)
    return tokens_BN, {"pre": z_BND, "post": tokenizer.quantizer.lookup(tokens_BN)}


@torch.no_grad()
def ar_states(ar, tokens_BN, prefix):
    """[(B, N, D)]: input of the first block, then the output of each block.

    Position k is the state that predicts patch k, as in training. For patch 0 it is the last slot
    of the prefix, for patch k the position of token k - 1. Token N - 1 is not used."""
    states = []
    layers = (ar.dropout, *ar.blocks)  # in eval mode the dropout returns its input, the embeddings

    def keep(_, __, out):
        states.append(predicting(out, prefix))

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        ar(ar.embedding(tokens_BN[:, :-1]), prefix, tap=len(ar.blocks), stop=True)
    finally:
        for hook in hooks:
            hook.remove()
    return states
