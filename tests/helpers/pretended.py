"""A pretended GPU: on which device each tensor is, and where the host waits for the GPU.

Inside PretendedGPU, tensors of device cuda are fake (torch's FakeTensorMode: they have a shape, a
type and a device, but no values), and tensors of the host are real. The dispatch mode sees every
operation:

- an operation that mixes the two devices is FakeTensorMode's own error
- an operation that gives the host a value or a tensor of the GPU is a readback. It is an error,
  unless the function of gear in which it happens is named as meant; the host then gets made-up
  values, so that its code goes on
- a copy to the GPU that the host waits for is counted
"""

import sys
from collections import Counter

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from gear.runtime import distributed

GPU = torch.device("cuda", 0)
PRODUCTS = ("mm", "addmm", "bmm", "convolution")


class Readback(AssertionError):
    """The host waits for a value of the GPU where no one meant it to."""


def function_of_gear():
    """Name of the innermost running function of gear, without the package's name."""
    frame = sys._getframe(1)
    while frame and not frame.f_globals["__name__"].startswith("gear."):
        frame = frame.f_back
    if frame is None:
        return "none of gear"
    name = frame.f_code.co_qualname.split(".<locals>")[0]
    return f"{frame.f_globals['__name__'].removeprefix('gear.')}.{name}"


def on_gpu(x):
    return isinstance(x, FakeTensor) or (isinstance(x, torch.device) and x.type == "cuda")


def on_host(x):
    return isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)


def made_up_number(x):
    """Rows sum to 1, as those of probabilities must; a condition holds."""
    if not x.is_floating_point():
        return int(x.dtype == torch.bool)
    return 1 / x.shape[-1] if x.ndim > 1 else 0.5


class PretendedGPU(TorchDispatchMode):
    """Inside, tensors of device cuda are fake. `meant` names the functions that may read back.

    readbacks, waiting_uploads: {function of gear: how often}; types: of the GPU's products."""

    def __init__(self, *meant):
        super().__init__()
        self.meant, self.types = meant, set()
        self.readbacks, self.waiting_uploads = Counter(), Counter()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)

    def __enter__(self):
        self.fake.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.fake.__exit__(*error)

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name, keywords = function.overloadpacket.__name__, keywords or {}
        given = tree_leaves((arguments, keywords))
        if not any(map(on_gpu, given)):
            with unset_fake_temporarily():
                return function(*arguments, **keywords)
        reads = [x for x in given if isinstance(x, FakeTensor)]
        if name == "_local_scalar_dense":
            self.read_back(name)
            return made_up_number(reads[0])
        found = function(*arguments, **keywords)
        if name in PRODUCTS:
            self.types.add(found.dtype)
        self.upload(name, [x for x in given if on_host(x)], keywords.get("non_blocking", False))
        made = [x for x in tree_leaves(found) if isinstance(x, torch.Tensor)]
        if reads and any(x.device.type == "cpu" for x in made):
            self.read_back(name)
            return tree_map_only(torch.Tensor, self.made_up, found)
        return found

    def read_back(self, operation):
        place = function_of_gear()
        self.readbacks[place] += 1
        if place not in self.meant:
            raise Readback(f"{operation} in {place} makes the host wait for the GPU")

    @staticmethod
    def made_up(x):
        with unset_fake_temporarily():
            return torch.full(x.shape, made_up_number(x), dtype=x.dtype)

    def upload(self, operation, tensors, non_blocking):
        """Count a copy from the host that the host waits for: of memory that is not pinned. A 0-d
        tensor is a kernel's argument, unless it is copied."""
        if operation != "_to_copy":
            tensors = [x for x in tensors if x.ndim]
        if any(not (non_blocking and hasattr(x, "pinned")) for x in tensors):
            self.waiting_uploads[function_of_gear()] += 1


def pinned(tensor):
    """In place of Tensor.pin_memory, which needs a driver."""
    copy = tensor.clone()
    copy.pinned = True
    return copy


def backward(loss):
    """In place of Tensor.backward, which needs a driver: every parameter that the loss reaches gets
    a gradient of zeros."""
    assert loss.ndim == 0 and loss.device == GPU
    seen, waiting = set(), {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)
        waiting |= {n for n, _ in node.next_functions if n is not None} - seen


def as_list(tensor):
    """In place of FakeTensor.tolist, which asks for each value: one copy, as of a real tensor."""
    return tensor.cpu().tolist()


def moved(parameter, replacement):
    """In place of swap_tensors, which Module.to uses for a fake parameter and which refuses it."""
    parameter.data = replacement


def install(monkeypatch):
    """Replace what else needs a driver. Trainers then use the GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as on a machine without one
    monkeypatch.setattr(distributed, "device", lambda: GPU)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.utils, "swap_tensors", moved)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(FakeTensor, "tolist", as_list)
