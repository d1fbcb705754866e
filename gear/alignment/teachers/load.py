"""The frozen teacher of a folder: pretrained or stand-in."""

from functools import partial
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
MOST = {"channels": 3, "patch": 256, "layers": 1000}


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
        dim, side = shape["dim"], shape["resolution"] // shape["patch"]
        if dim % HEADS or not side or any(shape[key] > most for key, most in MOST.items()):
            raise Mistake(f"{path}: no stand-in has the shape {shape}; remove it and run again.")
        least = dim * (side**2 + 8 * dim * shape["layers"])  # positions and blocks
        make = partial(OBJECTIVES[name], **shape)
        teacher = checkpoint.load_network(f"{folder}/weights.safetensors", "teacher", make, least)
        teacher.fit(data.resolution)
    return teacher.eval().requires_grad_(False)
