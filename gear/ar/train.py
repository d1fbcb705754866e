"""A fresh AR on a frozen tokenizer (stage 2): next-token prediction and alignment.

python -m gear.ar.train --job JSON --name RUN --output DIR --data MANIFEST --tokenizer DIR
    --teacher DIR
"""

import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.alignment.teachers.load import load_teacher
from gear.ar.condition import dropped
from gear.ar.transformer import Transformer
from gear.data.lookup import looked_up
from gear.data.memory import to_device
from gear.data.sets import training_set
from gear.kernels import functions
from gear.runtime import job, optim, rng
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.runtime.trainer import Trainer
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.load import check_tokenizer, load_frozen


def cross_entropy(state_ND, head, target_N):
    """L_NTP (paper eq. 4) of the states that the head reads, from all logits (N, K)."""
    return F.cross_entropy(head(state_ND).float(), target_N)


def fused_cross_entropy(state_ND, head, target_N):
    """The same a chunk of logits at a time. Products have the dtype of autocast, as the head's."""
    weight_KD, kind = head.weight, state_ND.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        state_ND, weight_KD = state_ND.to(dtype), weight_KD.to(dtype)
    return functions.CrossEntropy.apply(state_ND, weight_KD, target_N)


NTP = {"reference": cross_entropy, "fused": fused_cross_entropy}  # by Settings.kernels


class ARUpdate:
    """The AR with its projector and its update, shared with the joint stage.

    It puts its parts into the trainer's dictionaries."""

    def __init__(self, trainer, teacher, downsampling):
        settings = trainer.settings
        self.settings, self.trainer = settings, trainer
        self.target = self.features  # f(x) (B, N, F) of a micro-batch
        side = settings.data.resolution // downsampling
        rng.seed_torch(settings.seed, "ar")
        self.ar = self.make(settings, side).to(trainer.device)
        self.projector = projector(settings.ar.dim, settings.align.projector_dim, teacher.width).to(
            trainer.device
        )
        trainer.modules |= {"ar": self.ar, "projector": self.projector}
        trainer.blocks += self.ar.blocks
        self.average = trainer.averages["ar"] = optim.EMA(
            self.ar, settings.optim.ema, settings.optim.ema_warmup
        )
        parameters = [*self.ar.parameters(), *self.projector.parameters()]
        self.optimizer = trainer.optimizers["ar"] = optim.adamw(
            parameters, settings.optim.lr_ar, settings.optim
        )

    @staticmethod
    def make(settings, side):
        """The AR with random weights, for side x side tokens."""
        codes, classes = settings.tokenizer.codebook_size, settings.data.classes
        return Transformer(settings.ar, codes, classes, side)

    def features(self, part):
        """The teacher's features (B, N, F) of a micro-batch."""
        with self.trainer.autocast():
            return self.trainer.teacher(part.images)

    def look_up(self, data, folder):
        """Where data.lookup is true, take `target` from the file beside the teacher's weights."""
        self.target = looked_up("features", folder, self.features, self.trainer, data)

    def drawn(self, part):
        """(B,) bool, on the device: whose label the update drops.

        A step asks for it before its other work, so that no copy stands between two updates."""
        drop = dropped(self.settings.ar.label_dropout, self.settings.seed, part)
        return to_device(drop, part.labels.device)

    def prefix(self, part, drawn):
        """The Prefix of each image's condition; the null where the condition is dropped."""
        return self.ar.condition(part.labels, drawn)

    def losses(self, indices_BN, prefix, target_BNF):
        """(L_NTP, L_align^h) of the hard read-out (paper eq. 4, 5)."""
        u = self.ar.embedding(indices_BN[:, :-1])
        state_BND, tap = self.ar.states(u, prefix, tap=self.settings.align.layer)
        ntp = NTP[self.settings.kernels](
            state_BND.flatten(0, 1), self.ar.head, indices_BN.flatten()
        )
        return ntp, alignment_loss(self.projector(tap), target_BNF)

    def update(self, indices, parts, targets, drawn, number):
        """One update of AR and projector on micro-batches: for each part its indices (B, N), its
        target (B, N, F) and what was `drawn`. Nothing reaches the tokenizer that made the
        indices."""
        o, seen = self.settings.optim, []

        def losses():
            for place, part in enumerate(parts):
                with self.trainer.autocast():
                    prefix = self.prefix(part, drawn[place])
                    ntp, align = self.losses(indices[place], prefix, targets[place])
                seen.append({"ntp": ntp.detach(), "align_ar": align.detach()})
                yield ntp + self.settings.align.weight * align

        self.ar.train()
        lr = o.lr_ar * optim.warmup_factor(number, o.warmup)
        norm = optim.update(losses(), len(parts), self.optimizer, lr, o.clip)
        self.average.update(self.ar, number)
        return {**optim.mean_of(seen), "grad_ar": norm}


class ARTrainer(Trainer):
    def __init__(self, settings, tokenizer, teacher, update=ARUpdate):
        super().__init__(settings)
        self.tokenizer = tokenizer.use(settings.kernels).to(self.device)
        self.teacher = teacher.to(self.device)
        self.indices = self.tokens  # (B, N) of a micro-batch
        self.ar_update = update(self, teacher, tokenizer.downsampling)
        self.networks += [tokenizer]
        self.blocks += tokenizer.blocks()

    def tokens(self, part):
        """The frozen tokenizer's code indices (B, N) of a micro-batch."""
        with self.autocast(self.settings.runtime.token_precision(frozen=True)):
            return self.tokenizer.tokens(part.images)

    def look_up(self, data, tokenizer, teacher):
        """Where data.lookup is true, take tokens and features from files of these folders."""
        self.indices = looked_up("tokens", tokenizer, self.tokens, self, data)
        self.ar_update.look_up(data, teacher)

    def step(self, batch, number):
        parts = self.parts(batch)
        drawn = [self.ar_update.drawn(part) for part in parts]
        indices = [self.indices(part) for part in parts]
        targets = [self.ar_update.target(part) for part in parts]
        return self.ar_update.update(indices, parts, targets, drawn, number)


def frozen(settings, tokenizer=None):
    """The frozen Tokenizer of a checkpoint's folder; None: one with random weights."""
    if tokenizer:
        return load_frozen(tokenizer)
    return Tokenizer(settings.tokenizer, settings.data.channels).eval().requires_grad_(False)


def build(settings, tokenizer=None, teacher=None):
    """The trainer of this stage; see gear.study.stages.Stage.trainer."""
    return ARTrainer(settings, frozen(settings, tokenizer), teacher)


def main():
    task = job.parse("Train an AR on a frozen tokenizer from one milestone to the next.")
    setup(task.settings)
    check_tokenizer(task.settings, task.tokenizer)
    data = training_set(task.settings, task.data)
    teacher = load_teacher(task.teacher, task.settings.data)
    trainer = build(task.settings, task.tokenizer, teacher)
    trainer.look_up(data, task.tokenizer, task.teacher)
    Segment(trainer, data, task.output, task.start, task.stop, task.inputs).run(task.name)


if __name__ == "__main__":
    main()
