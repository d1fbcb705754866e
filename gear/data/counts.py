"""The numbers of images of a data set, compared with what a study needs."""

from gear.files.mistakes import Mistake


def check(numbers, wanted, where):
    """Mistake where there are too few images, or not the number that is needed.

    numbers: {split: images}; wanted: of gear.study.fit.needs; where: what holds the images."""
    for need in wanted:
        split, setting = need["split"], need["setting"]
        have = numbers.get(split)
        if have is None:
            continue
        if need["exact"] not in (None, have):
            raise Mistake(
                f"{where}: {split} holds {have} images, but {setting} is {need['exact']}; set "
                f"{setting}: {have} in the study's file, or leave it out to take all."
            )
        if need["least"] is not None and have < need["least"]:
            raise Mistake(
                f"{where}: {split} holds {have} images, but {setting} needs {need['least']}; lower "
                f"{setting} in the study's file, or add images."
            )
