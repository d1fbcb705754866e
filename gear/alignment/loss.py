"""The alignment loss L_align (paper eq. 5)."""

import torch.nn.functional as F

from gear.files.mistakes import Mistake


def alignment_loss(projected_BNF, target_BNF):
    """L_align (eq. 5): minus the mean cosine of the vectors.

    A 0-d tensor in [-1, 1]. Position k holds the AR state that predicts patch k, and the teacher's
    feature of patch k. Mistake: the shapes differ."""
    if projected_BNF.shape != target_BNF.shape:
        raise Mistake(
            f"AR states {tuple(projected_BNF.shape)} and teacher features "
            f"{tuple(target_BNF.shape)} differ; the teacher's patch grid must be the token grid."
        )
    return -F.cosine_similarity(projected_BNF.float(), target_BNF.float(), dim=-1).mean()
