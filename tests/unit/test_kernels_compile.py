"""Triton's compiler takes every kernel for an H100, of whose limits this machine has none.

The interpreter of test_kernels_gpu.py knows neither number formats nor registers.
"""

import os
import re

import pytest
import torch

gpu = pytest.importorskip("gear.kernels.gpu")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter replaces the compiler", allow_module_level=True)

from triton import compile as compiled  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
TYPES |= {torch.int64: "*i64", int: "i32", float: "fp32"}
SHARED = 227 * 1024  # bytes of shared memory of a program on an H100


class Compiler:
    """In place of a kernel: compiles it for the types that it would be called with."""

    def __init__(self, kernel, found):
        self.kernel, self.found = kernel, found

    def __getitem__(self, grid):
        assert 0 not in grid  # a GPU refuses such a launch, the interpreter does not
        return self.compile

    def compile(self, *arguments, **options):
        names = self.kernel.arg_names
        values = dict(zip(names, arguments, strict=False))
        values |= {name: options.pop(name) for name in names if name in options}
        assert values.keys() == set(names)
        constants = {p.name: values.pop(p.name) for p in self.kernel.params if p.is_constexpr}
        types = {name: TYPES[getattr(x, "dtype", type(x))] for name, x in values.items()}
        signature = {name: types.get(name, "constexpr") for name in names}
        source = ASTSource(self.kernel, signature, constants)
        made = compiled(source, target=GPUTarget("cuda", 90, 32), options=options)
        self.found.append((self.kernel.__name__, made))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", gpu.READ, ids=str)
def test_every_kernel_compiles_for_an_h100(monkeypatch, tmp_path, dtype):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found, programs = [], vars(gpu.programs)
    kernels = [name for name in programs if name.endswith("_kernel")]
    for name in kernels:
        monkeypatch.setattr(gpu.programs, name, Compiler(programs[name], found))
    codes, table = torch.randn(200, 8), torch.randn(200, 40).to(dtype)
    for rows in (0, 70):
        features = torch.randn(rows, 8)
        gpu.argmax(features, codes)
        statistics, entropy, mean = gpu.entropy(features, codes, 1.0)
        gpu.entropy_grad(features, codes, 1.0, statistics, entropy, entropy, mean)
        _, u = gpu.read(features, codes, 1.0, table)
        gpu.read_grad(features, codes, 1.0, table, statistics, u, False)
    gpu.read(features, codes, 1.0, table[:, :0])
    assert {name for name, _ in found} == set(kernels)
    for name, made in found:
        assert made.metadata.shared <= SHARED
        # no product of TF32, and no sum whose order is left to chance
        assert not re.search(r"tf32|\b(atom|red)\.", made.asm["ptx"]), name
