"""A manifest of an ImageNet folder that is already there, or one sentence that says what is not.

python -m gear.data.imagenet --path DIR --classes 1000 --output FILE.json
"""

import argparse
from pathlib import Path

from gear.data.folder import SUFFIXES, class_folders, visible
from gear.runtime.checkpoint import write_json


def count(path, classes):
    """{split: {class: number of images}}. ValueError names the first folder that is wrong."""
    found = {}
    for split in ("train", "val"):
        found[split] = {}
        for folder in class_folders(Path(path) / split, classes):
            number = sum(p.suffix.lower() in SUFFIXES for p in visible(folder))
            if not number:
                raise ValueError(f"{folder} holds no images; remove it or fill it.")
            found[split][folder.name] = number
    if set(found["train"]) != set(found["val"]):
        odd = sorted(set(found["train"]) ^ set(found["val"]))[0]
        raise ValueError(f"{path}: class '{odd}' is in one of train and val only; add the other.")
    return found


def main():
    parser = argparse.ArgumentParser(description="Count an image folder's classes and files.")
    parser.add_argument("--path", required=True)
    parser.add_argument("--classes", required=True, type=int)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    found = count(args.path, args.classes)
    write_json(args.output, {"path": args.path, "images": found})
    print(", ".join(f"{split}: {sum(n.values())} images" for split, n in found.items()))


if __name__ == "__main__":
    main()
