"""Forms of the code assignment that never hold a tensor of all positions times all codes."""

from gear.kernels import chunked


def of(device):
    """The module whose functions run on a torch.device: Triton kernels on a GPU, else chunks."""
    if device.type == "cuda":
        from gear.kernels import gpu  # needs triton, which torch for a CPU lacks

        return gpu
    return chunked
