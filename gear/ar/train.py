"""A fresh AR on a frozen tokenizer (stage 2): next-token prediction and alignment.

python -m gear.ar.train --job JSON --name RUN --output DIR --data MANIFEST --tokenizer DIR
    --teacher DIR
"""

from pathlib import Path

import torch
import torch.nn.functional as F

from gear.alignment.loss import alignment_loss
from gear.alignment.projector import projector
from gear.alignment.teachers.standin import load_teacher
from gear.ar.transformer import Transformer
from gear.data.memory import ImageSet
from gear.runtime import job, optim, rng
from gear.runtime.loop import Segment, Trainer, setup
from gear.tokenizer.load import load_frozen, settings_of


class ARUpdate:
    """The AR with its projector and its update, shared with the joint stage.

    It puts its parts into the trainer's dictionaries."""

    def __init__(self, trainer, teacher, downsampling):
        settings = trainer.settings
        self.settings, self.teacher = settings, teacher
        side = settings.data.resolution // downsampling
        rng.seed_torch(settings.seed, "ar")
        self.ar = Transformer(
            settings.ar, settings.tokenizer.codebook_size, settings.data.classes, side
        )
        width = teacher.std.numel()
        self.projector = projector(settings.ar.dim, settings.align.projector_dim, width)
        trainer.modules |= {"ar": self.ar, "projector": self.projector}
        self.average = trainer.averages["ar"] = optim.EMA(
            self.ar, settings.optim.ema, settings.optim.ema_warmup
        )
        parameters = [*self.ar.parameters(), *self.projector.parameters()]
        self.optimizer = trainer.optimizers["ar"] = optim.adamw(
            parameters, settings.optim.lr_ar, settings.optim
        )

    def dropped_labels(self, batch):
        """Labels with the null class in place of a tenth, drawn at (seed, epoch, image)."""
        drawn = rng.uniform((self.settings.seed, "label drop", batch.epoch), batch.indices)
        dropped = torch.from_numpy(drawn < self.settings.ar.label_dropout)
        return torch.where(dropped, self.ar.null, batch.labels)

    def losses(self, indices_BN, labels_B, target_BNF):
        """(L_NTP, L_align^h) of the hard read-out (paper eq. 4, 5)."""
        u = self.ar.embedding(indices_BN[:, :-1])
        logits, tap = self.ar(u, labels_B, tap=self.settings.align.layer)
        ntp = F.cross_entropy(logits.flatten(0, 1).float(), indices_BN.flatten())
        return ntp, alignment_loss(self.projector(tap), target_BNF)

    def update(self, indices_BN, batch, target_BNF, number):
        """One update of AR and projector; nothing reaches the tokenizer that made the indices."""
        o = self.settings.optim
        self.ar.train()
        ntp, align = self.losses(indices_BN, self.dropped_labels(batch), target_BNF)
        lr = o.lr_ar * optim.warmup_factor(number, o.warmup)
        norm = optim.update(ntp + self.settings.align.weight * align, self.optimizer, lr, o.clip)
        self.average.update(self.ar, number)
        return {"ntp": ntp, "align_ar": align, "grad_ar": norm}


class ARTrainer(Trainer):
    def __init__(self, settings, tokenizer, teacher):
        super().__init__(settings)
        self.tokenizer, self.teacher = tokenizer, teacher
        self.ar_update = ARUpdate(self, teacher, tokenizer.downsampling)

    def step(self, batch, number):
        indices = self.tokenizer.tokens(batch.images)
        return self.ar_update.update(indices, batch, self.teacher(batch.images), number)


def check_tokenizer(settings, folder):
    """ValueError unless the checkpoint's tokenizer is the one that these settings name."""
    found = settings_of(folder)
    if (found.tokenizer, found.data.channels) != (settings.tokenizer, settings.data.channels):
        raise ValueError(
            f"{folder} holds another tokenizer than this run's settings name; train it anew "
            "(delete its folder) or change the run's `tokenizer`."
        )


def main():
    task = job.parse("Train an AR on a frozen tokenizer from one milestone to the next.")
    setup(task.settings)
    check_tokenizer(task.settings, task.tokenizer)
    data = ImageSet(task.settings.data, "train", task.settings.optim.batch, task.settings.seed)
    teacher, tokenizer = load_teacher(task.teacher), load_frozen(task.tokenizer)
    trainer = ARTrainer(task.settings, tokenizer, teacher)
    weights = [Path(d) / "weights.safetensors" for d in (task.tokenizer, task.teacher)]
    inputs = [task.data, *weights]
    Segment(trainer, data, task.output, task.start, task.stop, inputs).run(task.name)


if __name__ == "__main__":
    main()
