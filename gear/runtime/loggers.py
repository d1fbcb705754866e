"""The metrics for TensorBoard and W&B, where `runtime.loggers` names them; both are optional."""

import hashlib
from importlib import import_module

from gear.files.mistakes import Mistake

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def load(names):
    """{name: module}. Mistake: a package is not installed."""
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
    """Event files in `<run>/log/tensorboard`. Steps that are trained again replace the old ones."""

    def __init__(self, module, name, folder, settings, step):
        self.writer = module.SummaryWriter(f"{folder}/log/tensorboard", purge_step=step + 1)

    def log(self, step, means):
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)

    def close(self):
        self.writer.close()


class WandB:
    """One W&B run for one folder of ours, taken up again by each attempt; W&B's own environment
    variables choose project, entity and mode."""

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
    """Loggers of the modules that `load` gave, for a run that goes on from `step`."""
    return [KINDS[kind](m, name, folder, settings, step) for kind, m in modules.items()]
