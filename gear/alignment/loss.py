"""L_align (paper eq. 5)."""

import torch.nn.functional as F

from gear.files.mistakes import Mistake


def alignment_loss(projected_BNF, target_BNF):
    """Minus the mean cosine between projected states and features, in [-1, 1]; a 0-d tensor.

    Position k of both is patch k: the state that predicts patch k, the teacher's patch k."""
    if projected_BNF.shape != target_BNF.shape:
        raise Mistake(
            f"AR states {tuple(projected_BNF.shape)} and teacher features "
            f"{tuple(target_BNF.shape)} differ; the teacher's patch grid must be the token grid."
        )
    return -F.cosine_similarity(projected_BNF.float(), target_BNF.float(), dim=-1).mean()
