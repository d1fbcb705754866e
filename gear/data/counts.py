"""The numbers of images of a data set, compared with what a study needs."""

from gear.files.mistakes import Mistake, counted


def check(numbers, wanted, where):
    """Mistake where there are too few images, or not the number that is needed.

    All settings are named in one sentence. numbers: {split: images}; wanted: of
    gear.study.fit.needs; where: what holds the images."""
    faults = []
    for split, have in numbers.items():
        if have is None:
            continue
        for need in wanted:
            if need["split"] == split and need["exact"] not in (None, have):
                setting = need["setting"]
                raise Mistake(
                    f"{where}: {split} holds {counted(have, 'image')}, but {setting} is "
                    f"{need['exact']}; set {setting}: {have} in the study's file, or leave it out "
                    "to take all."
                )
        faults += _too_few(split, have, wanted)
    if faults:
        settings = [name for _, names in faults for name in names]
        lower = settings[0] if len(settings) == 1 else "them"
        said = "; ".join(text for text, _ in faults)
        raise Mistake(f"{where}: {said}; lower {lower} in the study's file, or add images.")


def _too_few(split, have, wanted):
    """[(what needs more images than the split has, names of these settings)]: none or one."""
    settings = {}  # least number: names of the settings that need it
    for need in wanted:
        if need["split"] == split and need["least"] is not None and have < need["least"]:
            settings.setdefault(need["least"], []).append(need["setting"])
    if not settings:
        return []
    said = [
        f"{_together(names)} {'needs' if len(names) == 1 else 'need'} {least}"
        for least, names in sorted(settings.items())
    ]
    text = f"{split} holds {counted(have, 'image')}, but {', '.join(said)}"
    return [(text, [name for names in settings.values() for name in names])]


def _together(names):
    """'a, b and c'."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
