"""Optional loggers of metrics: TensorBoard and W&B, chosen by `runtime.loggers`."""

import hashlib
from importlib import import_module

from gear.files.mistakes import Mistake

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def load(names):
    """{name: imported module} of the named loggers. Mistake: a package is not installed."""
    modules = {}
    for name in names:
        try:
            modules[name] = import_module(PACKAGES[name])
        except ImportError as error:
            raise Mistake(
                f"runtime.loggers names {name}, which is not there ({error}); pip install {name}, "
                "or leave it out: metrics.jsonl is always written."
            ) from None
    return modules


class TensorBoard:
    """Event files in `<run>/log/tensorboard`. A step that is trained again replaces the old one."""

    def __init__(self, module, name, folder, settings, step):
        self.writer = module.SummaryWriter(f"{folder}/log/tensorboard", purge_step=step + 1)

    def log(self, step, means):
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)

    def close(self):
        self.writer.close()


class WandB:
    """One W&B run for each run folder; a resumed training continues the same W&B run.

    The environment variables of W&B choose project, entity and mode."""

    def __init__(self, module, name, folder, settings, step):
        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self.run = module.init(
            id=identity, resume="allow", name=name, dir=str(folder), config=settings
        )

    def log(self, step, means):
        self.run.log(means, step=step)

    def close(self):
        self.run.finish()


KINDS = {"tensorboard": TensorBoard, "wandb": WandB}


def start(modules, name, folder, settings, step):
    """The loggers of the modules that `load` returned, for a run that starts at `step`."""
    return [KINDS[kind](m, name, folder, settings, step) for kind, m in modules.items()]
