"""What a stage trains: its networks, their averages and optimizers."""

from gear.files.mistakes import Mistake
from gear.runtime import distributed
from gear.runtime.device import autocast
from gear.runtime.tune import match_layout, tune


class Trainer:
    """The networks and optimizers of a stage. Subclasses fill the collections and define `step`."""

    def __init__(self, settings):
        self.settings = settings
        self.device = distributed.device()
        self.modules = {}  # name -> trained module
        self.averages = {}  # name -> EMA of modules[name]
        self.optimizers = {}
        self.networks = []  # modules with convolutions, also frozen ones
        self.files = []  # weights of other networks that its losses read
        self.blocks = []  # repeated parts of networks, for runtime.recompute and runtime.compile

    def autocast(self, precision=None):
        """The autocast context of forward passes in a precision; None: runtime.precision."""
        return autocast(self.device, precision or self.settings.runtime.precision)

    def parts(self, batch):
        """[Batch]: the micro-batches of this process's share, on its device.

        Mistake: runtime.micro_batch does not divide the share."""
        size, share = self.settings.runtime.micro_batch, len(batch.images)
        if size and share % size:
            raise Mistake(
                f"runtime.micro_batch {size} does not divide this process's {share} images; set "
                "one that does."
            )
        return batch.parts(size, self.device)

    def step(self, batch, number):
        """{metric: 0-d tensor} of one optimizer step on a Batch; `number` from 0."""
        raise AssertionError("a stage defines its step")

    def forget(self):
        """Drop the gradients of the step before, so that none lies beside this step's largest
        backward pass."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def exports(self):
        """{prefix: module} of the milestone's weights.

        A plain name holds the averaged weights, `live.<name>` the weights that are trained."""
        live = {f"live.{k}": self.modules[k] for k in self.averages}
        plain = {k: v for k, v in self.modules.items() if k not in self.averages}
        return plain | live | {k: v.module for k, v in self.averages.items()}

    def state(self):
        return {
            "modules": {k: v.state_dict() for k, v in self.modules.items()},
            "averages": {k: v.module.state_dict() for k, v in self.averages.items()},
            "optimizers": {k: v.state_dict() for k, v in self.optimizers.items()},
        }

    def agree(self):
        """Give all processes the weights and averages of rank 0."""
        for module in (*self.modules.values(), *(a.module for a in self.averages.values())):
            distributed.agree(module.state_dict().values())

    def tune(self):
        """Set memory format, recomputation and compilation. The averages must exist before."""
        tune(self.settings.runtime, self.networks, self.blocks)

    def restore(self, state):
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, average in self.averages.items():
            average.module.load_state_dict(state["averages"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            match_layout(optimizer)
