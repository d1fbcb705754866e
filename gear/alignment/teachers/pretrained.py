"""Import the public weights of a pretrained teacher: weights.safetensors and run.json.

The file is local. If it is missing and the study names a file of the Hugging Face hub, that file is
downloaded at a fixed revision. Nothing else is downloaded.

python -m gear.alignment.teachers.pretrained --job JSON --output DIR
"""

import argparse
import json
import sys
from pathlib import Path

from gear.alignment.teachers import layout
from gear.alignment.teachers.load import network
from gear.files import hashes
from gear.files.mistakes import Mistake
from gear.foreign import source
from gear.runtime import checkpoint, provenance


def fetch(hub, path, label):
    """The local path of a hub file {repo, file, revision}. Mistake: the download fails."""
    name = f"{hub['repo']}/{hub['file']}"
    if not hub.get("revision"):
        raise Mistake(
            f"{path} ({label}) is missing; put {name} there, or set teachers.*.hub.revision to the "
            f"commit of {hub['repo']} that you trust; gear doctor lists all files that are missing."
        )
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub["repo"], hub["file"], revision=hub["revision"]))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise Mistake(
            f"{path} is missing and {name} at {hub['revision']} cannot be downloaded "
            f"({type(error).__name__}: {reason}); put the file at {path} by hand."
        ) from None


def find(spec):
    """(path, sha256) of the weight file of a study's teacher.

    Mistake: the file is missing, a TorchScript program, or of another size or sha256."""
    path = Path(spec["weights"])
    if not path.exists():
        if "hub" not in spec:
            known = " or ".join(x.name for x in network(spec["network"]).LAYOUTS)
            raise Mistake(
                f"{path}, the weights of {spec['label']}, is missing; put the file there "
                f"({known}), or name another in teachers.*.weights of the study."
            )
        path = fetch(spec["hub"], path, spec["label"])
    if source.is_torchscript(path):
        raise Mistake(
            f"{path} is a TorchScript program, which is not run; save its state_dict() as "
            ".safetensors, or take the file that open_clip publishes."
        )
    _check_size(path, spec)
    sha256 = hashes.sha256(path) if path.is_file() else None
    expected = spec.get("sha256")
    if expected and sha256 and sha256 != expected:
        raise Mistake(
            f"{path} has sha256 {sha256}, the study says {expected}; download it again, or correct "
            f"teachers.*.sha256 of {spec['label']}."
        )
    return path, sha256


def _check_size(path, spec):
    """Mistake: the file has another size than the study states. The file is not read."""
    size = spec.get("bytes")
    if size and path.is_file() and path.stat().st_size != size:
        raise Mistake(
            f"{path} has {path.stat().st_size:,} bytes, the study says {size:,}; download it "
            f"again, or correct teachers.*.bytes of {spec['label']}."
        )


def import_weights(spec, output, shape=None):
    """Read the weights of `spec`, a study's teacher, and write them for `load_teacher`.

    shape: arguments of a smaller network, for tests. Mistake: see `find` and `layout.read`."""
    teacher = network(spec["network"])
    shape = shape or teacher.SHAPE
    path, sha256 = find(spec)
    content = source.read(path)
    style, shape, state = layout.read(content, teacher, shape, path)
    parameters = sum(v.numel() for v in state.values())
    origin = {"name": path.name, "sha256": sha256, "bytes": path.stat().st_size}
    if path != Path(spec["weights"]):
        origin["hub"] = spec["hub"]
    record = {
        "label": spec["label"],
        "kind": "pretrained",
        "network": spec["network"],
        "shape": shape,
        "layout": style.name,
        "parameters": parameters,
        "source": origin,
        **provenance.environment(),
    }
    checkpoint.save_folder(output, {"teacher": state}, record)
    print(
        f"{spec['label']}: {path}, sha256 {sha256}, as {style.name}: {len(state)} tensors, "
        f"{parameters:,} numbers",
        file=sys.stderr,
    )


def main():
    parser = argparse.ArgumentParser(description="Import a pretrained teacher's weights.")
    parser.add_argument("--job", required=True, type=json.loads)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    import_weights(args.job["spec"], args.output)


if __name__ == "__main__":
    main()
