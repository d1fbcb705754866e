"""Settings: the dataclasses that every job receives, and their difference from the defaults.

The defaults are those of the paper (Tables 15 and 16). Where the paper gives no value, the default
is the constant of the published code. A study and a run change some settings. A job receives only
the changed settings, as one line of JSON, so a new setting with a default re-runs nothing.
"""

import dataclasses
import functools
import json
import typing
from dataclasses import dataclass, field

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.values import convert

# The version of the defaults below. A job receives only settings that differ from the defaults, so
# a changed default would re-run nothing, and results of the old default would stay. Increase this
# number with every change of a default, not with a new setting; tests/unit/test_defaults.py fails
# if you forget it.
DEFAULTS = 1


@dataclass(frozen=True)
class Data:
    source: str = "folder"  # folder | digits: a rule makes the images | shards: with captions
    path: str = "data/imagenet"  # <path>/{train,val}/<class>/<image>; shards: {train,val}/*.tar
    resolution: int = 256  # pixels, height = width
    channels: int = 3
    classes: int = 1000
    # stream: files are decoded when needed; random crops in training, centre crops in validation
    # memory: all files have the resolution and are decoded once
    hold: str = "stream"
    flip: bool = True  # mirror half of the training images
    # true: the teacher's features and a frozen tokenizer's tokens are read from a file beside the
    # weights (gear/data/lookup.py); needs hold: memory, flip: false. On a CPU the bits are the same
    lookup: bool = False
    interpolation: str = "bicubic"  # bicubic | bilinear: how validation images are resized
    shards_at_once: int = 8  # shards whose samples are mixed
    flip_directions: bool = False  # also mirror images whose caption names left or right
    broken_limit: int = 1000  # images of shards that may be replaced because they are broken


@dataclass(frozen=True)
class Tokenizer:
    quantizer: str = "vq"  # vq | lfq | ibq
    network: str = "vqgan"  # vqgan (VQ-16, IBQ-16) | magvit2 (LFQ-16)
    codebook_size: int = 16384  # K
    code_dim: int = 8  # 8 (VQ-16), 14 (LFQ-16), 256 (IBQ-16)
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # one per level; downsampling 2^(levels-1)
    encoder_blocks: int = 2  # residual blocks per level (magvit2: and in the middle)
    decoder_blocks: int = 3
    z_channels: int = 256
    attention: bool = True  # at the coarsest level (magvit2 has none)
    groups: int = 32  # of GroupNorm

    @property
    def downsampling(self):
        """Side of the image patch of one token, in pixels."""
        return 2 ** (len(self.multipliers) - 1)


@dataclass(frozen=True)
class Loss:
    """Weights of the tokenizer loss L_VQ (paper eq. 2, Table 16).

    The commitment and codebook terms are those of the published code."""

    l1: float = 1.0
    l2: float = 0.0
    lpips: float = 0.1  # paper; the published code uses 1.0 (docs/decisions.md)
    gan: float = 0.1  # constant weight of the generator's hinge term; 0: no discriminator
    codebook: float = 1.0
    commitment: float = 0.25
    entropy: float = 0.05
    entropy_temperature: float = 0.01
    disc_channels: int = 64
    disc_layers: int = 3
    vgg16: str = ""  # local file of torchvision's VGG16 weights, needed where lpips > 0


@dataclass(frozen=True)
class Text:
    """The captions that a text-to-image AR reads, as features of a frozen encoder (Table 17)."""

    slots: int = 300  # tokens of the longest caption
    width: int = 2048  # of the encoder's features


@dataclass(frozen=True)
class AR:
    size: str = "l"  # s | b | l | xl | ...: the study maps it to layers, width and heads
    layers: int = 24
    dim: int = 1024
    heads: int = 16
    dropout: float = 0.1  # residual and feed-forward
    token_dropout: float = 0.1
    label_dropout: float = 0.1  # share of the conditions that are dropped: labels or captions
    prefix_rope: str = "identity"  # identity | zero; the published weights expect zero


@dataclass(frozen=True)
class Align:
    """Alignment to a frozen vision encoder (paper eq. 5)."""

    teacher: str = "dinov2"
    depth: str = "default"  # early | default | late: the study maps it and the size to a layer
    layer: int = 8  # number of the block whose output is aligned, from 1
    weight: float = 0.5  # lambda of both alignment terms
    tokenizer_weight: float | None = None  # lambda of the tokenizer's term, if it differs
    projector_dim: int = 2048


@dataclass(frozen=True)
class Joint:
    """The end-to-end training (paper eq. 7, 8, 11, 12) and its three switches."""

    readout: str = "soft"  # soft | straight_through: input of the AR in the tokenizer's update
    temperature: float = 0.1  # tau
    tokenizer_losses: tuple[str, ...] = ("align",)  # of align, ntp; (): the control with lambda = 0
    ntp_path: str = "both"  # input | target | both: the gradient path of NTP to the tokenizer


@dataclass(frozen=True)
class Optim:
    batch: int = 256  # images per optimizer step, all processes together
    lr_tokenizer: float = 1e-4
    lr_discriminator: float = 1e-4
    lr_ar: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm of each optimizer
    warmup: int = 0  # steps from learning rate 0 to the full rate; then constant
    ema: float = 0.9999
    ema_warmup: bool = False  # decay min(ema, (1 + t) / (10 + t)), for short trainings


@dataclass(frozen=True)
class Runtime:
    threads: int = 0  # CPU threads of a process; 0: the default of torch
    workers: int = 8  # decoding processes if data.hold is stream; 0: the training decodes
    micro_batch: int = 0  # images per forward pass; 0: the whole share of the process
    recompute: bool = False  # blocks keep only their input and run again in the backward pass
    precision: str = "bf16"  # bf16 | fp32
    frozen_precision: str = "same"  # same as precision | bf16 | fp32: stage 2's frozen tokenizer
    critics: str = "fp32"  # fp32 | same as precision: the layers of LPIPS and of the discriminator
    tf32: bool = False  # on a GPU: float32 convolutions in TF32; matrix products never
    channels_last: bool = False  # memory format of convolutions
    compile: bool = False  # torch.compile of each block
    kernels: str = "auto"  # auto | reference | fused: see Settings.kernels
    log_every: int = 50  # optimizer steps between two lines of metrics
    loggers: tuple[str, ...] = ()  # of tensorboard, wandb; metrics.jsonl is always written
    checkpoint_minutes: float = 30.0
    on_nonfinite: str = "stop"  # stop | record: the run ends, its rows print "diverged"

    def token_precision(self, frozen):
        """The precision in which a training makes the AR's tokens: bf16 | fp32.

        frozen: the tokenizer is frozen (stage 2), not trained along (stage 1)."""
        own = frozen and self.frozen_precision != "same"
        return self.frozen_precision if own else self.precision

    @property
    def critic_precision(self):
        """The precision of the critics' layers: bf16 | fp32."""
        return self.precision if self.critics == "same" else self.critics


# Settings that may change in the middle of a run. A change re-runs nothing: it changes results only
# by the rounding of float additions. README.md says what `micro_batch` changes besides.
FREE = frozenset(
    f"runtime.{name}"
    for name in (
        "threads",
        "workers",
        "micro_batch",
        "recompute",
        "channels_last",
        "compile",
        "log_every",
        "loggers",
        "checkpoint_minutes",
        "on_nonfinite",
    )
)


# Scores (positions times codes) of an optimizer step from which `auto` is `fused`. On a CPU the
# fused form is the faster one from about 2^17 on (benchmarks/README.md).
FUSED_FROM = 2**20


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    data: Data = field(default_factory=Data)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    loss: Loss = field(default_factory=Loss)
    text: Text = field(default_factory=Text)
    ar: AR = field(default_factory=AR)
    align: Align = field(default_factory=Align)
    joint: Joint = field(default_factory=Joint)
    optim: Optim = field(default_factory=Optim)
    runtime: Runtime = field(default_factory=Runtime)

    @property
    def reads_text(self):
        """Whether the AR's condition is a caption; otherwise it is a class."""
        return self.data.source == "shards"

    @property
    def kernels(self):
        """The form of assignment, head and VQGAN's blocks: reference, which holds all scores, or
        fused."""
        form = self.runtime.kernels
        return self.automatic_kernels if form == "auto" else form

    @property
    def automatic_kernels(self):
        """What `auto` is: a function of the run alone, so that every machine continues it alike."""
        tokens = (self.data.resolution // self.tokenizer.downsampling) ** 2
        scores = self.optim.batch * tokens * self.tokenizer.codebook_size
        return "fused" if scores >= FUSED_FROM else "reference"


CHOICES = {
    "data.source": ("folder", "digits", "shards"),
    "data.channels": (1, 3),  # gray, colour
    "data.hold": ("stream", "memory"),
    "data.interpolation": ("bicubic", "bilinear"),
    "tokenizer.quantizer": ("vq", "lfq", "ibq"),
    "tokenizer.network": ("vqgan", "magvit2"),
    "ar.prefix_rope": ("identity", "zero"),
    "joint.readout": ("soft", "straight_through"),
    "joint.tokenizer_losses": ("align", "ntp"),
    "joint.ntp_path": ("input", "target", "both"),
    "runtime.precision": ("bf16", "fp32"),
    "runtime.frozen_precision": ("same", "bf16", "fp32"),
    "runtime.critics": ("fp32", "same"),
    "runtime.kernels": ("auto", "reference", "fused"),
    "runtime.loggers": ("tensorboard", "wandb"),
    "runtime.on_nonfinite": ("stop", "record"),
}

# Removed settings of older studies and checkpoints, with the cure.
REPLACED = {
    "data.crop": "write data.hold: memory for crop: none, stream for crop: random",
    "data.name": "delete it, nothing read it",
}

# The interval of each number, and of each item of a list: [ ] include the end, ( ) exclude it.
RANGES = {
    "seed": "[0, 4294967295]",
    "data.resolution": "[1, 16384]",
    "data.classes": "[1, 1000000]",
    "data.shards_at_once": "[1, 1024]",
    "data.broken_limit": "[0, inf)",
    "tokenizer.codebook_size": "[2, 16777216]",
    "tokenizer.code_dim": "[1, 65536]",
    "tokenizer.channels": "[1, 65536]",
    "tokenizer.multipliers": "[1, 1024]",
    "tokenizer.encoder_blocks": "[1, 1000]",
    "tokenizer.decoder_blocks": "[1, 1000]",
    "tokenizer.z_channels": "[1, 65536]",
    "tokenizer.groups": "[1, 65536]",
    "loss.l1": "[0, inf)",
    "loss.l2": "[0, inf)",
    "loss.lpips": "[0, inf)",
    "loss.gan": "[0, inf)",
    "loss.codebook": "[0, inf)",
    "loss.commitment": "[0, inf)",
    "loss.entropy": "[0, inf)",
    "loss.entropy_temperature": "[1e-06, 1000000]",
    "loss.disc_channels": "[1, 65536]",
    "loss.disc_layers": "[1, 10]",
    "text.slots": "[1, 4096]",
    "text.width": "[1, 65536]",
    "ar.layers": "[1, 1000]",
    "ar.dim": "[1, 65536]",
    "ar.heads": "[1, 65536]",
    "ar.dropout": "[0, 1)",
    "ar.token_dropout": "[0, 1)",
    "ar.label_dropout": "[0, 1]",  # 1: the AR never gets a condition
    "align.layer": "[1, 1000]",
    "align.weight": "[0, inf)",
    "align.tokenizer_weight": "[0, inf)",
    "align.projector_dim": "[1, 1048576]",
    "joint.temperature": "[1e-06, 1000000]",  # beyond these ends float32 overflows or underflows
    "optim.batch": "[1, 1048576]",
    "optim.lr_tokenizer": "[0, 1]",
    "optim.lr_discriminator": "[0, 1]",
    "optim.lr_ar": "[0, 1]",
    "optim.betas": "[0, 1)",
    "optim.weight_decay": "[0, inf)",
    "optim.clip": "(0, inf)",
    "optim.warmup": "[0, inf)",
    "optim.ema": "[0, 1)",
    "runtime.threads": "[0, 4096]",
    "runtime.workers": "[0, 4096]",
    "runtime.micro_batch": "[0, inf)",
    "runtime.log_every": "[1, inf)",
    "runtime.checkpoint_minutes": "[0, inf)",  # 0: after each step
}


def flatten(tree, prefix=""):
    """{'a': {'b': 1}} -> {'a.b': 1}. Dotted keys stay as they are.

    Mistake: a setting occurs both nested and dotted."""
    flat = {}
    for key, value in tree.items():
        part = {prefix + key: value}
        if isinstance(value, dict):
            part = flatten(value, f"{prefix}{key}.")
        for name in part:
            if name in flat:
                raise Mistake(f"setting '{name}' is there twice; remove one.")
        flat |= part
    return flat


_hints = functools.cache(typing.get_type_hints)  # of a dataclass; a study builds many settings


def _fields(cls=Settings, prefix=""):
    hints = _hints(cls)
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]):
            yield from _fields(hints[f.name], f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, hints[f.name]


TYPES = dict(_fields())


def check(overrides, where=None, others=()):
    """Flat {dotted name: value} of checked and converted settings. Mistake: a wrong setting.

    where: file and line at the beginning of the message; others: further known names, which the
    message may suggest for a misspelt name."""
    try:
        flat = flatten(overrides)
        for name in flat:
            if name in REPLACED:
                raise Mistake(f"the setting '{name}' is gone; {REPLACED[name]}.")
            if name not in TYPES:
                raise Mistake(f"unknown setting {name!r}. {did_you_mean(name, [*TYPES, *others])}")
        return {
            name: convert(name, value, TYPES[name], CHOICES.get(name), RANGES.get(name))
            for name, value in flat.items()
        }
    except Mistake as error:
        raise Mistake(f"{where}: {error}" if where else str(error)) from None


def build(overrides, where="settings"):
    """The Settings of nested or dotted overrides of the defaults. Mistake: see `check`."""
    flat = check(overrides, where)

    def make(cls, prefix=""):
        hints, values = _hints(cls), {}
        for f in dataclasses.fields(cls):
            if dataclasses.is_dataclass(hints[f.name]):
                values[f.name] = make(hints[f.name], f"{prefix}{f.name}.")
            elif prefix + f.name in flat:
                values[f.name] = flat[prefix + f.name]
        return cls(**values)

    return make(Settings)


def difference(settings):
    """Flat {dotted name: value} of the settings that differ from the defaults, sorted.

    runtime.kernels is left out where it says what `auto` is for these settings."""
    values, defaults = (flatten(dataclasses.asdict(s)) for s in (settings, Settings()))
    if settings.kernels == settings.automatic_kernels:
        del values["runtime.kernels"]
    return {name: values[name] for name in sorted(values) if values[name] != defaults[name]}


@functools.cache  # a study writes the line of a run for each of its jobs
def dumps(settings):
    """One line of JSON with the settings that differ from the defaults."""
    return json.dumps(difference(settings), sort_keys=True, separators=(",", ":"))
