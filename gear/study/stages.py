"""The stages of training, one row each. All code that depends on the stage reads this table."""

import importlib
from dataclasses import dataclass

CORE = ("gear/runtime", "gear/data", "gear/config.py", "gear/tokenizer")


@dataclass(frozen=True)
class Stage:
    """One stage. Its rule is train_<name>. runs.yaml and a study's `milestones` use its name."""

    name: str
    trains: tuple  # parts of its weights file, in the order in which `gear plan` lists them
    averages: tuple  # parts of which an average is saved too
    module: str  # its build() makes the trainer, its main() trains from one milestone to the next
    code: tuple  # files and folders of its code
    public: bool = False  # starts from public weights, if the study has some of its quantizer
    reads_text: bool = False  # its images have captions; a study may lack such a stage

    @property
    def owns_tokenizer(self):
        """Whether it trains a tokenizer; otherwise it freezes the tokenizer of another run."""
        return "tokenizer" in self.trains

    @property
    def has_ar(self):
        """Whether its checkpoints can draw samples."""
        return "ar" in self.trains

    @property
    def aligns(self):
        """Whether its runs have a teacher."""
        return "projector" in self.trains

    def trainer(self, settings, tokenizer=None, teacher=None, encoder=None):
        """A trainer of this stage (gear.runtime.trainer.Trainer). This call imports torch.

        tokenizer: folder of the checkpoint whose tokenizer is the start or is frozen; None: random
        weights. teacher: the network, only for a stage that aligns. encoder: the text encoder, only
        for a stage that reads text."""
        more = (encoder,) if self.reads_text else ()
        return importlib.import_module(self.module).build(settings, tokenizer, teacher, *more)


_ROWS = (
    Stage(
        name="tokenizer",
        trains=("tokenizer", "discriminator"),
        averages=("tokenizer",),
        module="gear.tokenizer.train",
        code=CORE,
        public=True,
    ),
    Stage(
        name="joint",
        trains=("tokenizer", "discriminator", "ar", "projector"),
        averages=("tokenizer", "ar"),
        module="gear.joint.train",
        code=(*CORE, "gear/alignment", "gear/ar", "gear/joint"),
    ),
    Stage(
        name="ar",
        trains=("ar", "projector"),
        averages=("ar",),
        module="gear.ar.train",
        code=(*CORE, "gear/alignment", "gear/ar"),
    ),
    Stage(
        name="t2i",
        trains=("ar", "projector"),
        averages=("ar",),
        module="gear.t2i.train",
        code=(
            *(*CORE, "gear/alignment", "gear/ar", "gear/t2i/train.py"),
            *("gear/t2i/transformer.py", "gear/t2i/text.py", "gear/t2i/text_folder.py"),
        ),
        reads_text=True,
    ),
)
STAGES = {stage.name: stage for stage in _ROWS}  # a run starts from runs of earlier stages
