"""Tokenizer pretraining (stage 0): L_VQ and the discriminator.

python -m gear.tokenizer.train --job JSON --name RUN --output DIR --data MANIFEST
    [--tokenizer DIR]
"""

import sys
from typing import NamedTuple

import torch

from gear.data.sets import training_set
from gear.runtime import checkpoint, job, optim
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.runtime.trainer import Trainer
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.codebook import usage_stats
from gear.tokenizer.discriminator import PatchGAN
from gear.tokenizer.load import check_tokenizer, load_tokenizer
from gear.tokenizer.losses import hinge_discriminator, make_lpips, tokenizer_loss


class Outcome(NamedTuple):
    """Values of a tokenizer update; tuples have one item per micro-batch."""

    recon: tuple  # (B, C, H, W), detached
    indices: tuple  # (B, N)
    metrics: dict  # means over the micro-batches, 0-d tensors


class TokenizerTrainer(Trainer):
    """Trains encoder, codebook and decoder on L_VQ, and the discriminator on its hinge loss.

    The joint stage adds its terms by `extra` of `update_tokenizer`, and its updates in `step`."""

    discriminator_may_be_new = True  # public tokenizers have no discriminator; only for this stage

    def __init__(self, settings, initial=None):
        """initial: folder of a checkpoint; its tokenizer and discriminator are the start."""
        super().__init__(settings)
        channels, loss = settings.data.channels, settings.loss
        precision = settings.runtime.critic_precision
        tokenizer = Tokenizer(settings.tokenizer, channels)
        self.average = optim.EMA(tokenizer, settings.optim.ema, settings.optim.ema_warmup)
        if initial:
            tokenizer = load_tokenizer(initial, "live.tokenizer")
            self.average.module = load_tokenizer(initial).requires_grad_(False)
        self.average.module.to(self.device)
        tokenizer.use(settings.kernels)
        self.tokenizer = self.modules["tokenizer"] = tokenizer.to(self.device).train()
        self.averages["tokenizer"] = self.average
        self.optimizers["tokenizer"] = optim.adamw(
            tokenizer.parameters(), settings.optim.lr_tokenizer, settings.optim
        )
        self.discriminator = None
        if loss.gan:
            shape = channels, loss.disc_channels, loss.disc_layers
            self.discriminator = PatchGAN(*shape, precision)
            if initial:
                self._load_discriminator(f"{initial}/weights.safetensors")
            self.modules["discriminator"] = self.discriminator.to(self.device)
            self.optimizers["discriminator"] = optim.adamw(
                self.discriminator.parameters(), settings.optim.lr_discriminator, settings.optim
            )
        self.lpips = None
        if loss.lpips:
            self.lpips = make_lpips(loss.vgg16, precision).to(self.device)
        self.files += [loss.vgg16] if loss.lpips else []
        critics = [m for m in (self.discriminator, self.lpips) if m is not None]
        self.networks += [tokenizer, self.average.module, *critics]
        self.blocks += tokenizer.blocks()

    def _load_discriminator(self, file):
        if self.discriminator_may_be_new and not checkpoint.holds(file, "discriminator"):
            print(f"{file} holds no discriminator: it starts at random", file=sys.stderr)
            return
        checkpoint.load_weights(file, "discriminator", self.discriminator)

    def factor(self, number):
        """Warm-up factor of the learning rates at optimizer step `number`, from 0."""
        return optim.warmup_factor(number, self.settings.optim.warmup)

    def update_tokenizer(self, parts, number, extra=None):
        """The Outcome, with the weights before the update, of one tokenizer update.

        parts: micro-batches; number: optimizer step, from 0; extra(place, quantized): (loss,
        metrics) to add for the part with the index `place`."""
        o, updates = self.settings.optim, []

        def losses():
            for place, part in enumerate(parts):
                with self.autocast():
                    recon, quantized = self.tokenizer(part.images)
                    total, metrics = tokenizer_loss(
                        part.images,
                        recon,
                        quantized,
                        self.settings.loss,
                        discriminator=self.discriminator,
                        lpips=self.lpips,
                    )
                    if extra is not None:
                        more, more_metrics = extra(place, quantized)
                        total, metrics = total + more, metrics | more_metrics
                metrics = {k: v.detach() for k, v in {"total": total, **metrics}.items()}
                updates.append((recon.detach(), quantized.indices_BN, metrics))
                yield total

        lr = o.lr_tokenizer * self.factor(number)
        optimizer = self.optimizers["tokenizer"]
        critics = [m for m in (self.discriminator,) if m is not None]
        with optim.frozen(*critics):
            norm = optim.update(losses(), len(parts), optimizer, lr, o.clip)
        recon, indices, metrics = zip(*updates, strict=True)
        usage = usage_stats(torch.cat(indices), self.settings.tokenizer.codebook_size)
        metrics = {**optim.mean_of(metrics), "grad_tokenizer": norm, **usage}
        return Outcome(recon, indices, metrics)

    def update_discriminator(self, parts, recon, number):
        """{metric: 0-d tensor} of one discriminator update.

        recon: the reconstructions of the tokenizer update, one item per part."""
        if self.discriminator is None:
            return {}
        o, rows = self.settings.optim, []

        def losses():
            for part, fake in zip(parts, recon, strict=True):
                loss = hinge_discriminator(
                    self.discriminator(part.images), self.discriminator(fake.detach())
                )
                rows.append({"disc": loss.detach()})
                yield loss

        lr = o.lr_discriminator * self.factor(number)
        norm = optim.update(losses(), len(parts), self.optimizers["discriminator"], lr, o.clip)
        return {**optim.mean_of(rows), "grad_disc": norm}

    def step(self, batch, number):
        self.forget()
        parts = self.parts(batch)
        outcome = self.update_tokenizer(parts, number)
        metrics = outcome.metrics | self.update_discriminator(parts, outcome.recon, number)
        self.average.update(self.tokenizer, number)
        return metrics


def build(settings, tokenizer=None, teacher=None):
    """The trainer of this stage. It uses no teacher; see gear.study.stages.Stage.trainer."""
    return TokenizerTrainer(settings, tokenizer)


def main():
    task = job.parse("Train a tokenizer from one milestone to the next.")
    setup(task.settings)
    if task.tokenizer:
        check_tokenizer(task.settings, task.tokenizer)
    data = training_set(task.settings, task.data)
    trainer = build(task.settings, task.tokenizer)
    Segment(trainer, data, task.output, task.start, task.stop, task.inputs).run(task.name)


if __name__ == "__main__":
    main()
