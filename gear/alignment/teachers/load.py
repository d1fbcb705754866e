"""The frozen teacher of a folder: pretrained or stand-in."""

from importlib import import_module

from gear.alignment.teachers.objectives import OBJECTIVES
from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_record, required, whole_numbers
from gear.runtime import checkpoint

NETWORKS = {
    "dinov2": "DINOv2",
    "dinov3": "DINOv3",
    "siglip2": "SigLIP2",
    "vjepa2": "VJEPA2",
    "clip_l": "CLIPL",
}
STANDIN = ("channels", "resolution", "classes", "patch", "dim", "layers")  # shape of a stand-in
HEADS = 4  # of a stand-in


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
    path = f"{folder}/run.json"
    record = read_record(path)
    if record.get("kind") == "pretrained":
        shape = required(record, "shape", dict, path)
        teacher = network(required(record, "network", str, path)).load(folder, shape, data)
    else:
        shape = whole_numbers(record, "shape", STANDIN, path)
        name = required(required(record, "spec", dict, path), "objective", str, path)
        if name not in OBJECTIVES:
            raise Mistake(f"{path}: no objective '{name}'. {did_you_mean(name, OBJECTIVES)}")
        if shape["dim"] % HEADS or shape["resolution"] < shape["patch"]:
            raise Mistake(f"{path}: no stand-in has the shape {shape}; remove it and run again.")
        weights = f"{folder}/weights.safetensors"
        teacher = checkpoint.load_network(weights, "teacher", lambda: OBJECTIVES[name](**shape))
        teacher.fit(data.resolution)
    return teacher.eval().requires_grad_(False)
