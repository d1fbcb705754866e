"""Models of config/studies/<name>.yaml, runs.yaml and devices.yaml."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, create_model, model_validator

from gear import config
from gear.files.mistakes import Mistake
from gear.study.models.base import (
    Above0,
    Count,
    Entry,
    Names,
    Sha256,
    Whole,
    list_or_text,
    once,
    text,
)
from gear.study.stages import STAGES


def _overrides(settings):
    config.check(settings)
    return settings


Overrides = Annotated[dict, AfterValidator(_overrides)]


class Data(Entry):
    train: Count = 0
    val: Count = 0
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: Whole = 0

    @model_validator(mode="before")
    @classmethod
    def _old_form(cls, data):
        if isinstance(data, dict) and "maker" in data:
            raise Mistake(
                "data.maker is gone; delete it, and write settings.data.source: digits for maker: "
                "digits, or folder for maker: imagenet."
            )
        return data


Seeds = Annotated[list[Whole], Field(min_length=1), AfterValidator(once)]


class SeedLists(Entry, extra="allow"):
    __pydantic_extra__: dict[str, Seeds]
    headline: Seeds


Steps = Annotated[dict[text("milestone"), Count], Field(min_length=1)]


def of_stages(name, value, *default, **more):
    """A model with one key for each stage; more: {other key: (type, default)}."""
    entries = {stage: (value, *(default or (...,))) for stage in STAGES}
    return create_model(name, __base__=Entry, **entries | more)


# a study may lack a stage that reads text: most have no captions
CAPTIONED = {name: (Steps, None) for name, stage in STAGES.items() if stage.reads_text}
Milestones = of_stages("Milestones", Steps, **CAPTIONED)
Stages = of_stages("Stages", Overrides | None, None)


class Public(Entry):
    layout: Literal["llamagen-tokenizer", "open-magvit2", "ibq", "gear"]
    file: str
    sha256: Sha256 = ""


class Depth(Entry):
    early: Count
    default: Count
    late: Count


class Size(Entry):
    layers: Count
    dim: Count
    heads: Count
    depth: Depth


class Hub(Entry):
    repo: str
    file: str
    revision: text("commit") = ""


class FolderHub(Entry):
    repo: str
    revision: text("commit") = ""


class StandInTeacher(Entry):
    kind: Literal["standin"]
    label: str
    objective: Literal["masked_patch", "self_distillation", "image_caption", "feature_prediction"]
    steps: Count
    batch: Count
    dim: Count
    layers: Count
    seed: Whole


class PretrainedTeacher(Entry):
    kind: Literal["pretrained"]
    label: str
    network: Literal["dinov2", "dinov3", "siglip2", "vjepa2", "clip_l"]
    weights: str
    sha256: Sha256 = ""
    bytes: Count = 0
    hub: Hub = None


class StandInFeatures(Entry):
    kind: Literal["standin"]
    label: str
    steps: Count
    batch: Count
    seed: Whole


class Inception(Entry):
    kind: Literal["inception"]
    label: str
    weights: str
    reference: str
    sha256: Sha256 = ""


class DINOv2Features(Entry):
    kind: Literal["dinov2"]
    label: str
    weights: str
    reference: str
    sha256: Sha256 = ""


class StandInEncoder(Entry):
    kind: Literal["standin"]
    label: str
    layers: Count
    heads: Count
    vocabulary: Annotated[int, Field(ge=258)]  # bytes, the end of a text, and a merge
    seed: Whole


class PretrainedEncoder(Entry):
    kind: Literal["pretrained"]
    label: str
    weights: str
    sha256: Sha256 = ""  # of its first file of weights
    hub: FolderHub = None


class Prompts(Entry):
    """A set of captions from which samples are drawn: a file, or a split of the shards."""

    file: str = ""
    split: Literal["", "train", "val"] = ""
    count: Count
    images: Count = 1
    protocol: Literal["text", "coco"] = "text"

    @model_validator(mode="after")
    def _one_place(self):
        if bool(self.file) == bool(self.split):
            raise Mistake("a set of prompts has either a `file` or a `split`; name one.")
        return self


class Captions(Entry):
    train: Count = 0
    val: Count = 0
    seed: Whole = 0


class Job(Entry):
    nodes: Count = 1
    processes: Whole = 0
    gpus: Whole = 0
    cpus: Count = 1
    mem_gb: Count = 1
    minutes: Count = 1


class Sampler(Entry):
    images: Count
    guidance: Annotated[float, Field(ge=0)] = 1.0
    temperature: Above0 = 1.0
    top_k: Whole = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    labels: Literal["uniform", "balanced"] = "uniform"
    seed: Whole = 0
    prompts: str = ""
    precision: Literal["fp32", "bf16"] = "fp32"


class Generation(Entry):
    name: Literal["demo", "adm", "clean"]
    images: Count
    neighbours: Count = 1
    prdc_images: Count = 1
    split_size: Count = 1
    aliased: bool = False


class Validation(Entry):
    name: Literal["demo", "reconstruction"]
    images: Count = 0
    rounding: Literal["none", "uint8"] = "none"


class TextGeneration(Entry):
    name: Literal["demo_text", "fdd"]
    images: Count
    neighbours: Count = 1
    prdc_images: Count = 1


class Coco(Entry):
    """FID and CLIP score of pictures of COCO's captions."""

    inception: str
    clip: str
    reference: str


class Protocols(Entry):
    generation: Generation
    validation: Validation
    text: TextGeneration = None
    coco: Coco = None


class Neighbours(Entry):
    image: Count
    patch: Count


class Analysis(Entry):
    images: Count = 0
    batch: Annotated[int, Field(ge=4)]
    neighbours: Neighbours
    kernel: Literal["inner", "cosine"]
    cka: Literal["biased", "unbiased"]
    cutoff: Annotated[float, Field(gt=0, lt=0.7)]


class Study(Entry):
    title: str
    tables: list_or_text(Names, Literal["all"])
    figures: list_or_text(Names, Literal["all"])
    together: bool
    compares_with_paper: bool = False
    shows_paper: bool = False
    data: Data
    seeds: SeedLists
    milestones: Milestones
    settings: Overrides | None
    stages: Stages | None = None
    quantizers: dict[str, Overrides]
    public: dict[str, Public] = {}
    sizes: dict[str, Size]
    teachers: dict[str, Annotated[StandInTeacher | PretrainedTeacher, Discriminator("kind")]]
    features: Annotated[StandInFeatures | Inception, Discriminator("kind")]
    text_features: DINOv2Features = None
    captions: Captions = Captions()
    text_encoder: Annotated[StandInEncoder | PretrainedEncoder, Discriminator("kind")] = None
    prompts: dict[str, Prompts] = {}
    jobs: dict[str, Job] = {}
    samplers: dict[str, Sampler]
    protocols: Protocols
    analysis: Analysis = None


# ---- runs.yaml and devices.yaml ------------------------------------------------------------------


class Run(Entry, extra="allow"):  # all other keys are settings; the registry checks them
    parent: str = Field("", alias="from")
    tokenizer: text("tokenizer") = ""
    until: str = ""
    seeds: str = ""
    scale: Above0 = 1.0
    published: bool = True


RunLines = dict[text("name of a run"), Run | None]


MilestoneNames = Annotated[list[text("milestone")], Field(min_length=1), AfterValidator(once)]
Runs = of_stages("Runs", RunLines, milestones=(MilestoneNames, ...))
Rates = of_stages("Rates", Above0, draw=(Above0, 1.0))


class Device(Entry):
    label: str
    measured: str
    tflops: dict[str, Rates]
