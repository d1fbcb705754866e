"""Tokenizer pretraining (stage 0): L_VQ and the discriminator.

python -m gear.tokenizer.train --job JSON --name RUN --output DIR --data MANIFEST
"""

from gear.analysis.codebook import usage_stats
from gear.data.memory import ImageSet
from gear.runtime import checkpoint, job, optim
from gear.runtime.loop import Segment, Trainer, setup
from gear.tokenizer.autoencoder import Tokenizer
from gear.tokenizer.discriminator import PatchGAN
from gear.tokenizer.load import load_tokenizer
from gear.tokenizer.losses import hinge_discriminator, make_lpips, tokenizer_loss


class TokenizerTrainer(Trainer):
    """Encoder, codebook and decoder against L_VQ; the discriminator against their images.

    The joint stage adds its terms to `loss` and its own updates to `step`."""

    def __init__(self, settings, initial=None):
        """initial: folder of a checkpoint whose tokenizer and discriminator it starts from."""
        super().__init__(settings)
        channels, loss = settings.data.channels, settings.loss
        tokenizer = Tokenizer(settings.tokenizer, channels)
        self.average = optim.EMA(tokenizer, settings.optim.ema, settings.optim.ema_warmup)
        if initial:
            tokenizer = load_tokenizer(initial, "live.tokenizer")
            self.average.module = load_tokenizer(initial).requires_grad_(False)
        self.tokenizer = self.modules["tokenizer"] = tokenizer.train()
        self.averages["tokenizer"] = self.average
        self.optimizers["tokenizer"] = optim.adamw(
            tokenizer.parameters(), settings.optim.lr_tokenizer, settings.optim
        )
        self.discriminator = None
        if loss.gan:
            self.discriminator = PatchGAN(channels, loss.disc_channels, loss.disc_layers)
            if initial:
                file = f"{initial}/weights.safetensors"
                checkpoint.load_weights(file, "discriminator", self.discriminator)
            self.modules["discriminator"] = self.discriminator
            self.optimizers["discriminator"] = optim.adamw(
                self.discriminator.parameters(), settings.optim.lr_discriminator, settings.optim
            )
        self.lpips = make_lpips(loss.vgg16) if loss.lpips else None

    def factor(self, number):
        return optim.warmup_factor(number, self.settings.optim.warmup)

    def update_tokenizer(self, batch, number, extra=None):
        """One tokenizer update. `extra(quantized)` gives further (loss, metrics).

        Returns (reconstruction, Quantized, metrics) of the weights before the update."""
        o = self.settings.optim
        critics = [m for m in (self.discriminator,) if m is not None]
        with optim.frozen(*critics):
            recon, quantized = self.tokenizer(batch.images)
            total, metrics = tokenizer_loss(
                batch.images,
                recon,
                quantized,
                self.settings.loss,
                discriminator=self.discriminator,
                lpips=self.lpips,
            )
            if extra is not None:
                more, more_metrics = extra(quantized)
                total, metrics = total + more, metrics | more_metrics
            lr = o.lr_tokenizer * self.factor(number)
            metrics["grad_tokenizer"] = optim.update(
                total, self.optimizers["tokenizer"], lr, o.clip
            )
        usage = usage_stats(quantized.indices_BN, self.settings.tokenizer.codebook_size)
        return recon, quantized, {"total": total, **metrics, **usage}

    def update_discriminator(self, images, recon, number):
        """One discriminator update on the same reconstructions, detached."""
        if self.discriminator is None:
            return {}
        o = self.settings.optim
        loss = hinge_discriminator(self.discriminator(images), self.discriminator(recon.detach()))
        lr = o.lr_discriminator * self.factor(number)
        optim.update(loss, self.optimizers["discriminator"], lr, o.clip)
        return {"disc": loss}

    def step(self, batch, number):
        recon, _, metrics = self.update_tokenizer(batch, number)
        metrics |= self.update_discriminator(batch.images, recon, number)
        self.average.update(self.tokenizer, number)
        return metrics


def main():
    task = job.parse("Train a tokenizer from one milestone to the next.")
    setup(task.settings)
    data = ImageSet(task.settings.data, "train", task.settings.optim.batch, task.settings.seed)
    trainer = TokenizerTrainer(task.settings)
    Segment(trainer, data, task.output, task.start, task.stop, [task.data]).run(task.name)


if __name__ == "__main__":
    main()
