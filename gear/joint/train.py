"""The joint stage (stage 1): tokenizer and AR train together on disjoint losses (paper eq. 11, 12).

One step, on one tokenizer forward pass:
1. tokenizer: L_VQ + lambda L_align^s, through the soft read-out of the AR, which is a constant here
   (eval mode: no dropout, no label drop); other read-outs and losses by the switches of `joint`
2. discriminator: hinge loss on the same reconstructions, detached
3. AR and projector: L_NTP + lambda L_align^h on the hard indices; nothing reaches the tokenizer

python -m gear.joint.train --job JSON --name RUN --output DIR --data MANIFEST --teacher DIR
    [--tokenizer DIR]
"""

from gear.alignment.loss import alignment_loss
from gear.alignment.teachers.load import load_teacher
from gear.ar.train import ARUpdate
from gear.data.sets import training_set
from gear.joint import readout
from gear.runtime import job, optim
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.tokenizer.codebook import SoftAssignment
from gear.tokenizer.load import check_tokenizer
from gear.tokenizer.train import TokenizerTrainer


class JointTrainer(TokenizerTrainer):
    discriminator_may_be_new = False

    def __init__(self, settings, teacher, initial=None):
        super().__init__(settings, initial)
        self.teacher = teacher.to(self.device)
        self.ar_update = ARUpdate(self, teacher, self.tokenizer.downsampling)

    def guidance(self, quantized, batch, target_BNF):
        """(loss, metrics) that the AR sends to the tokenizer; gradient only through the scores."""
        joint, align = self.settings.joint, self.settings.align
        if not joint.tokenizer_losses:
            return quantized.scores_BNK.new_zeros(()), {}
        weight = align.weight if align.tokenizer_weight is None else align.tokenizer_weight
        ar, projector = self.ar_update.ar, self.ar_update.projector
        wants_ntp = "ntp" in joint.tokenizer_losses
        ar.eval()
        s = readout.assignment(quantized.scores_BNK, joint.temperature, joint.readout)
        u = readout.read_soft(s[:, :-1], ar.embedding.weight)
        logits, tap = ar(u, batch.labels, tap=align.layer, stop=not wants_ntp)
        aligned = alignment_loss(projector(tap), target_BNF)
        metrics = {"align_tokenizer": aligned}
        loss = quantized.scores_BNK.new_zeros(())
        if "align" in joint.tokenizer_losses:
            loss = loss + weight * aligned
        if wants_ntp:
            if joint.ntp_path == "target":
                logits, _ = ar(u.detach(), batch.labels)
            target = s.detach() if joint.ntp_path == "input" else s
            metrics["ntp_tokenizer"] = readout.soft_cross_entropy(logits, target)
            loss = loss + metrics["ntp_tokenizer"]
        return loss, metrics

    def step(self, batch, number):
        parts = self.parts(batch)
        with self.autocast():
            targets = [self.teacher(part.images) for part in parts]
        reports = (number + 1) % self.settings.runtime.log_every == 0
        sharpness = SoftAssignment(self.settings.joint.temperature)

        def guide(place, quantized):
            if reports:
                sharpness.add(quantized.scores_BNK.detach().flatten(0, 1))
            return self.guidance(quantized, parts[place], targets[place])

        with optim.frozen(self.ar_update.ar, self.ar_update.projector):
            recon, indices, metrics = self.update_tokenizer(parts, number, guide)
        metrics |= self.update_discriminator(parts, recon, number)
        metrics |= self.ar_update.update(indices, parts, targets, number)
        self.average.update(self.tokenizer, number)
        return metrics | sharpness.means() if reports else metrics


def build(settings, tokenizer=None, teacher=None):
    """The trainer of this stage; see gear.study.stages.Stage.trainer."""
    return JointTrainer(settings, teacher, tokenizer)


def main():
    task = job.parse("Tune tokenizer and AR together from one milestone to the next.")
    setup(task.settings)
    if task.tokenizer:
        check_tokenizer(task.settings, task.tokenizer)
    data = training_set(task.settings, task.data)
    teacher = load_teacher(task.teacher, task.settings.data)
    trainer = build(task.settings, task.tokenizer, teacher)
    Segment(trainer, data, task.output, task.start, task.stop, task.inputs).run(task.name)


if __name__ == "__main__":
    main()
