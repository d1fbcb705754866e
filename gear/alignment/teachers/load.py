"""The frozen teacher of a folder: pretrained or stand-in."""

from importlib import import_module

from gear.alignment.teachers.objectives import OBJECTIVES
from gear.files.aside import read_json
from gear.files.mistakes import Mistake, did_you_mean
from gear.runtime import checkpoint

NETWORKS = {
    "dinov2": "DINOv2",
    "dinov3": "DINOv3",
    "siglip2": "SigLIP2",
    "vjepa2": "VJEPA2",
    "clip_l": "CLIPL",
}


def network(name):
    """The class of a pretrained teacher. Mistake: unknown name.

    The class imports its library (timm, open_clip) when it builds the encoder."""
    if name not in NETWORKS:
        raise Mistake(
            f"there is no pretrained teacher network '{name}'. {did_you_mean(name, NETWORKS)}"
        )
    return getattr(import_module(f"gear.alignment.teachers.{name}"), NETWORKS[name])


def load_teacher(folder, data):
    """The frozen teacher that `standin` or `pretrained` wrote, for images of config.Data.

    Mistake: the folder is incomplete, or the teacher does not serve these images."""
    record = read_json(f"{folder}/run.json")
    if record.get("kind") == "pretrained":
        teacher = network(record["network"]).load(folder, record["shape"], data)
    else:
        teacher = OBJECTIVES[record["spec"]["objective"]](**record["shape"])
        checkpoint.load_weights(f"{folder}/weights.safetensors", "teacher", teacher)
        teacher.fit(data.resolution)
    return teacher.eval().requires_grad_(False)
