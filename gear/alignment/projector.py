"""The projector g_phi between AR states and the teacher's features (paper eq. 5)."""

from torch import nn


def projector(dim, hidden, target):
    """A module (..., dim) -> (..., target): three linear layers with SiLU between them."""
    return nn.Sequential(
        nn.Linear(dim, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, target),
    )
