"""A fresh AR that reads captions, on a frozen tokenizer: next-token prediction and alignment.

The losses and the update are those of stage 2, with the settings of paper Table 17. The condition
of an image is its caption, as features of a frozen text encoder. A dropped caption is replaced by
the empty one.

python -m gear.t2i.train --job JSON --name RUN --output DIR --data MANIFEST --tokenizer DIR
    --teacher DIR --encoder DIR
"""

from gear.alignment.teachers.load import load_teacher
from gear.ar.train import ARTrainer, ARUpdate, frozen
from gear.data.sets import training_set
from gear.runtime import distributed, job, rng
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.t2i.text import load_encoder
from gear.t2i.transformer import TextTransformer
from gear.tokenizer.load import check_tokenizer


class CaptionUpdate(ARUpdate):
    """The update of stage 2, whose conditions are captions. The trainer sets `encoder`."""

    encoder = None

    @staticmethod
    def make(settings, side):
        codes = settings.tokenizer.codebook_size
        return TextTransformer(settings.ar, codes, settings.text, side)

    def drawn(self, part):
        """The captions of a CaptionBatch, with "" for those dropped at (seed, epoch, image)."""
        u_B = rng.uniform((self.settings.seed, "caption drop"), part.epochs, part.indices)
        drop = u_B < self.settings.ar.label_dropout
        return ["" if d else caption for d, caption in zip(drop, part.captions, strict=True)]

    def prefix(self, part, drawn):
        """The Prefix of each image's caption, or of the empty caption if it is dropped."""
        with self.trainer.autocast("fp32"):  # the encoder has a precision of its own, as in drawing
            text = self.encoder(drawn)
        return self.ar.condition(text)


class CaptionTrainer(ARTrainer):
    """The trainer of stage t2i; encoder: gear.t2i.text.TextEncoder."""

    def __init__(self, settings, tokenizer, teacher, encoder):
        super().__init__(settings, tokenizer, teacher, CaptionUpdate)
        self.ar_update.encoder = encoder


def build(settings, tokenizer=None, teacher=None, encoder=None):
    """The trainer of this stage; see gear.study.stages.Stage.trainer."""
    return CaptionTrainer(settings, frozen(settings, tokenizer), teacher, encoder)


def main():
    task = job.parse("Train a text-to-image AR from one milestone to the next.")
    settings = task.settings
    setup(settings)
    check_tokenizer(settings, task.tokenizer)
    data = training_set(settings, task.data)
    teacher = load_teacher(task.teacher, settings.data)
    device, precision = distributed.device(), settings.runtime.precision
    encoder = load_encoder(task.encoder, settings.text, precision, device)
    trainer = build(settings, task.tokenizer, teacher, encoder)
    Segment(trainer, data, task.output, task.start, task.stop, task.inputs).run(task.name)


if __name__ == "__main__":
    main()
