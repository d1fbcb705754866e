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
    discriminator_may_be_new = False  # stage 0 trained one

    def __init__(self, settings, teacher, initial=None):
        super().__init__(settings, initial)
        self.teacher = teacher.to(self.device)
        self.ar_update = ARUpdate(self, teacher, self.tokenizer.downsampling)

    def guidance(self, quantized, batch, target_BNF):
        """(loss, metrics) that the AR sends to the tokenizer: lambda L_align^s, L_NTP or both.
        The gradient passes through the assignment alone; AR and projector are constants."""
        joint, align = self.settings.joint, self.settings.align
        loss, metrics = batch.images.new_zeros(()), {}
        if not joint.tokenizer_losses:
            return loss, metrics
        weight = align.weight if align.tokenizer_weight is None else align.tokenizer_weight
        ar, projector = self.ar_update.ar, self.ar_update.projector
        wants_ntp = "ntp" in joint.tokenizer_losses
        # the read-out is compared with the AR as it predicts: no dropout, and no label is dropped
        ar.eval()
        prefix = ar.condition(batch.labels)
        # T = N - 1 positions: with the prefix, as many as there are tokens to predict
        u_BTD, s_BNK = readout.read_out(
            quantized.assignment, ar.embedding.weight, joint.temperature, joint.readout, wants_ntp
        )
        # without next-token prediction the blocks above the aligned one are not run
        logits_BNK, tap_BND = ar(u_BTD, prefix, tap=align.layer, stop=not wants_ntp)
        # L_align^s (eq. 5)
        metrics["align_tokenizer"] = alignment_loss(projector(tap_BND), target_BNF)
        if "align" in joint.tokenizer_losses:
            loss = loss + weight * metrics["align_tokenizer"]
        if wants_ntp:
            # s is input and target of L_NTP (eq. 4); joint.ntp_path says which of them learns
            if joint.ntp_path == "target":
                logits_BNK, _ = ar(u_BTD.detach(), prefix)
            target_BNK = s_BNK.detach() if joint.ntp_path == "input" else s_BNK
            metrics["ntp_tokenizer"] = readout.soft_cross_entropy(logits_BNK, target_BNK)
            loss = loss + metrics["ntp_tokenizer"]
        return loss, metrics

    def measured(self, number, count):
        """The slice of a part's `count` tokens that the statistics of the assignment are of.

        They are one more pass over A. So the steps of a window share its cost: each measures
        another part of its tokens. The first step measures all: it shows the weights from which the
        run starts, and Figure 4 compares the others with it."""
        every = min(self.settings.runtime.log_every, count)
        return slice(number % every, None, every) if number else slice(None)

    def step(self, batch, number):
        self.forget()
        parts = self.parts(batch)
        drawn = [self.ar_update.drawn(part) for part in parts]
        # f(x) (B, N, F), which both branches are aligned with
        targets = [self.ar_update.target(part) for part in parts]
        sharpness = SoftAssignment(self.settings.joint.temperature)

        def guide(place, quantized):
            tokens = self.measured(number, quantized.indices_BN.numel())
            sharpness.add(quantized.assignment, tokens)
            return self.guidance(quantized, parts[place], targets[place])

        # the tokenizer's side of eq. 11, 12: AR and projector are constants, gradients pass them
        with optim.frozen(self.ar_update.ar, self.ar_update.projector):
            recon, indices, metrics = self.update_tokenizer(parts, number, guide)
        metrics |= self.update_discriminator(parts, recon, number)
        # the AR's side of eq. 11, 12, on the indices from before the tokenizer's update
        metrics |= self.ar_update.update(indices, parts, targets, drawn, number)
        self.average.update(self.tokenizer, number)
        return metrics | sharpness.means()


def build(settings, tokenizer=None, teacher=None):
    """The trainer of this stage; see gear.study.stages.Stage.trainer."""
    return JointTrainer(settings, teacher, tokenizer)


def main():
    task = job.parse("Tune tokenizer and AR together from one milestone to the next.")
    setup(task.settings)
    if task.tokenizer:  # without one, the run trains from random weights
        check_tokenizer(task.settings, task.tokenizer)
    data = training_set(task.settings, task.data)
    teacher = load_teacher(task.teacher, task.settings.data)
    trainer = build(task.settings, task.tokenizer, teacher)
    trainer.ar_update.look_up(data, task.teacher)
    Segment(trainer, data, task.output, task.start, task.stop, task.inputs).run(task.name)


if __name__ == "__main__":
    main()
