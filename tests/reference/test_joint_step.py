"""Three steps of the joint trainer in float64 against the page in joint_step.py, and changes of the
trainer's code that the comparison must see."""

import copy
import importlib
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import joint_step
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import gear

TINY = {
    "data": {"resolution": 16, "classes": 10, "hold": "memory"},
    "tokenizer": {"codebook_size": 16, "code_dim": 4, "channels": 8, "multipliers": [1, 1, 2]}
    | {"encoder_blocks": 1, "decoder_blocks": 1, "z_channels": 16, "groups": 4},
    "loss": {"disc_channels": 8, "disc_layers": 2, "vgg16": "stands in"},
    "ar": {"layers": 3, "dim": 16, "heads": 2, "label_dropout": 0.5},
    "align": {"layer": 2, "projector_dim": 24},
    "optim": {"batch": 8, "warmup": 1},
    "runtime": {"precision": "fp32", "log_every": 1},
}
# numbers of the trainer, and the same of the reference; without them both have the paper's
OTHER_NUMBERS = (
    {"loss.lpips": 1.0, "joint.temperature": 0.5, "align.weight": 0.75, "optim.ema": 0.9}
    | {"align.tokenizer_weight": 3.0, "optim.warmup": 2, "optim.clip": 0.25}
    | {"optim.lr_tokenizer": 1e-3, "optim.lr_discriminator": 1e-3, "optim.lr_ar": 1e-3},
    {"lpips": 1.0, "tau": 0.5, "lam": 0.75, "ema": 0.9, "lam_tokenizer": 3.0, "warmup": 2}
    | {"clip": 0.25, "rate": 1e-3},
)
STE = (
    {"joint.readout": "straight_through", "joint.tokenizer_losses": ["align", "ntp"]},
    {"straight_through": True, "ntp_to_tokenizer": True},
)
CASES = {
    "vq": ({}, {}),
    "lfq": ({"tokenizer.quantizer": "lfq"}, {"quantizer": "lfq"}),
    "ibq": ({"tokenizer.quantizer": "ibq"}, {"quantizer": "ibq"}),
    "other numbers": OTHER_NUMBERS,
    "STE": STE,
}


class Teacher(torch.nn.Module):
    """(B, 3, 16, 16) -> (B, 16, 12): a random matrix on each patch."""

    width = 12

    def __init__(self):
        super().__init__()
        self.register_buffer("matrix", torch.randn(3 * 16, self.width))

    def forward(self, x):
        return F.unfold(x, 4, stride=4).transpose(1, 2) @ self.matrix


class Perceptual(torch.nn.Module):
    """LPIPS with one random layer: (B, 1, 1, 1) of two batches of images in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", torch.randn(6, 3, 3, 3))
        self.register_buffer("head", torch.rand(1, 6, 1, 1))

    def forward(self, a, b):
        a, b = (F.normalize(F.conv2d(x, self.kernel).relu(), dim=1, eps=1e-10) for x in (a, b))
        return F.conv2d((a - b).square(), self.head).mean((2, 3), keepdim=True)


@pytest.fixture(autouse=True)
def _float64(monkeypatch):
    """Everything in float64: new tensors by torch's default, and what the code casts to float32."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    # dropout keeps its share of each value: its places show, and nothing is random
    keep = lambda x, p, training, inplace=False: x * (1 - p) if training else x  # noqa: E731
    monkeypatch.setattr(F, "dropout", keep)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@contextmanager
def code(folder=None):
    """The package gear of a folder in place of the imported one; None: the one that is imported."""
    if folder is None:
        yield
        return
    kept = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split(".")[0] == "gear"}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [n for n in sys.modules if n.split(".")[0] == "gear"]:
            del sys.modules[name]
        sys.modules.update(kept)


def trainer_of(settings, monkeypatch):
    """The joint trainer on tiny networks, with an AR that says something from the start."""
    monkeypatch.setattr(
        importlib.import_module("gear.tokenizer.train"), "make_lpips", lambda *_: Perceptual()
    )
    torch.manual_seed(5)
    trainer = importlib.import_module("gear.joint.train").JointTrainer(settings, Teacher())
    ar = trainer.ar_update.ar
    with torch.no_grad():  # the published start is almost silent, and its head is 0
        for p in (*ar.parameters(), *trainer.discriminator.parameters()):
            p += 0.3 * torch.randn_like(p)
    trainer.average.module.load_state_dict(trainer.tokenizer.state_dict())
    trainer.ar_update.average.module.load_state_dict(ar.state_dict())
    return trainer


def reference_of(trainer, recipe):
    """The reference at the trainer's present weights, in copies of them."""
    network = copy.deepcopy(trainer.tokenizer)

    def leaves(module, prefix=""):
        named = module.named_parameters()
        return {prefix + n: p.detach().clone().requires_grad_() for n, p in named}

    statistics = trainer.discriminator.state_dict()
    statistics = {n: v.clone() for n, v in statistics.items() if ".running_" in n}
    update = trainer.ar_update
    ar = leaves(update.ar) | leaves(update.projector, "projector.")
    functions = (network.encode, network.decode_codes, trainer.teacher, trainer.lpips)
    tokenizer = dict(network.named_parameters())
    return joint_step.Joint(
        recipe, tokenizer, leaves(trainer.discriminator), statistics, ar, functions
    )


def gaps(found, expected):
    """The largest difference of two {name: tensor or number}, which must have the same names."""
    assert set(found) == set(expected)
    pairs = [(torch.as_tensor(found[n]), torch.as_tensor(expected[n])) for n in found]
    return max((a.detach() - b.detach()).abs().max().item() for a, b in pairs)


def compare(case, monkeypatch, steps=3):
    """{what: largest difference} over some steps, and the metrics of the last."""
    changes, numbers = CASES[case]
    config = importlib.import_module("gear.config")
    condition = importlib.import_module("gear.ar.condition")
    batch_of = importlib.import_module("gear.data.memory").Batch
    settings = config.build(config.flatten(TINY) | changes)
    trainer = trainer_of(settings, monkeypatch)
    reference = reference_of(trainer, joint_step.Recipe(**numbers))
    seen = {"losses": 0.0}
    for number in range(steps):
        torch.manual_seed(number)
        images, labels = torch.rand(8, 3, 16, 16) * 2 - 1, torch.arange(8) + number % 2
        batch = batch_of(images, labels, np.arange(8) + 8 * number, 0)
        dropped = condition.dropped(0.5, 0, batch)
        assert dropped.any() and not dropped.all()
        expected = reference.step(images, labels, dropped)
        metrics = {n: v.double() for n, v in trainer.step(batch, number).items()}
        assert metrics["usage"] > 0.3 and metrics["grad_tokenizer"] > settings.optim.clip
        # float32 by their own docstring
        for name in ("usage_entropy", "perplexity"):
            metrics.pop(name)
        seen["losses"] = max(seen["losses"], gaps(metrics, expected))
    update = trainer.ar_update
    ar = dict(update.ar.named_parameters())
    ar |= {f"projector.{n}": p for n, p in update.projector.named_parameters()}
    buffers = trainer.discriminator.named_buffers()
    seen["tokenizer"] = gaps(dict(trainer.tokenizer.named_parameters()), reference.tokenizer)
    seen["ar"] = gaps(ar, reference.ar)
    seen["discriminator"] = gaps(
        dict(trainer.discriminator.named_parameters()), reference.discriminator
    )
    seen["statistics"] = gaps({n: b for n, b in buffers if ".running_" in n}, reference.statistics)
    for name, average in trainer.averages.items():
        parameters = dict(average.module.named_parameters())
        seen[f"average of {name}"] = gaps(parameters, reference.average[name])
    return seen


@pytest.mark.parametrize("case", CASES)
def test_three_steps_are_those_of_the_page(case, monkeypatch):
    found = compare(case, monkeypatch)
    assert max(found.values()) < 1e-9, found


# ---- the comparison sees a changed line --------------------------------------------------------

CODE = "code_BND - z_BND"
BOTH = "self.discriminator(part.images), self.discriminator(fake.detach())"
CHANGES = {  # case, file, text, other text
    # stop-gradients
    "codebook's": ("vq", "tokenizer/vq.py", f"({CODE}.detach())", "(code_BND.detach() - z_BND)"),
    "commitment's": ("vq", "tokenizer/vq.py", "(code_BND.detach() - z_BND)", f"({CODE})"),
    "decoder's": ("vq", "tokenizer/vq.py", f"z_BND + ({CODE}).detach()", "code_BND"),
    "IBQ's": ("ibq", "tokenizer/ibq.py", "(hard_BND.detach() - z_BND)", "(hard_BND - z_BND)"),
    "A of features": ("vq", "tokenizer/assignment.py", "scaled @", "scaled.detach() @"),
    "A of codes": ("vq", "tokenizer/assignment.py", "self.codes_KD.T", "self.codes_KD.T.detach()"),
    "STE's": ("STE", "tokenizer/assignment.py", "one_hot_BNK + p_BNK - p_BNK.detach()", "p_BNK"),
    "entropy's": ("vq", "tokenizer/entropy.py", "(mean_K * torch", "(mean_K.detach() * torch"),
    "GAN's": (
        "vq",
        "tokenizer/losses.py",
        "-discriminator(recon)",
        "-discriminator(recon.detach())",
    ),
    # modes, inputs and order
    "dropout in the guidance": ("vq", "joint/train.py", "ar.eval()", "ar.train()"),
    "labels dropped in the guidance": (
        *(
            "vq",
            "joint/train.py",
            "ar.condition(batch.labels)",
            "self.ar_update.prefix(batch, self.ar_update.drawn(batch))",
        ),
    ),
    "the first token left out": ("vq", "joint/readout.py", "slice(None, -1)", "slice(1, None)"),
    "another block": ("vq", "ar/transformer.py", "if number == tap", "if number == tap + 1"),
    "no label dropped": (
        "vq",
        "ar/train.py",
        "self.prefix(part, drawn[place])",
        "self.ar.condition(part.labels)",
    ),
    "tokens from after the update": (
        *("other numbers", "joint/train.py", "self.ar_update.update(indices,"),
        "self.ar_update.update([self.tokenizer.tokens(part.images) for part in parts],",
    ),
    "real and fake in one batch": (
        *("vq", "tokenizer/train.py", BOTH),
        "*self.discriminator(torch.cat([part.images, fake.detach()])).chunk(2)",
    ),
    # weights, clipping, rates, averages
    "lambda of the AR": ("vq", "ar/train.py", "self.settings.align.weight * align", "align"),
    "hinge": ("vq", "tokenizer/losses.py", "0.5 * (F.relu", "(F.relu"),
    "clipping": ("vq", "runtime/optim.py", "(parameters, clip,", "(parameters, 10 * clip,"),
    "warm-up": ("vq", "runtime/optim.py", "step / warmup", "(step + 1) / warmup"),
    "decay": ("other numbers", "runtime/optim.py", "1 - decay)", "decay)"),
    "no average": (
        *("other numbers", "joint/train.py"),
        *("self.average.update(self.tokenizer, number)", "pass"),
    ),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A folder with a copy of the package."""
    folder = tmp_path_factory.mktemp("changed")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(gear.__file__).parent, folder / "gear", ignore=ignored)
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_line_is_seen(name, copied, monkeypatch):
    case, file, old, new = CHANGES[name]
    path = copied / "gear" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        with code(copied):
            found = compare(case, monkeypatch)
    finally:
        path.write_text(text, encoding="utf-8")
    assert max(found.values()) > 1e-7, found


def test_a_copy_without_a_change_is_the_same(copied, monkeypatch):
    with code(copied):
        assert max(compare("vq", monkeypatch).values()) < 1e-9
