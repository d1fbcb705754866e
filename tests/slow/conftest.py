"""What the slow tests share: a file of VGG16 weights."""

import pytest
import torch


@pytest.fixture(scope="session")
def vgg16(tmp_path_factory):
    """A file in the format of torchvision's VGG16 weights, 528 MiB, with random ones."""
    from torchvision.models import vgg16

    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.manual_seed(4)
    torch.save(vgg16().state_dict(), path)
    yield path
    path.unlink()
