"""From the lines of runs.yaml to runs: inherited keys, and the settings in one study.

Settings are merged in this order, and later ones win: the study's, its stage's, those of the
tokenizer that the run starts from or freezes, its quantizer's, the resolution of `scale`, the
layers and width of its size, and those of the line itself.
"""

from dataclasses import dataclass

from gear import config
from gear.files.mistakes import Mistake, did_you_mean
from gear.study import configchecks
from gear.study.needs import Checkpoint, split
from gear.study.stages import STAGES

RUN_KEYS = {"from", "tokenizer", "until", "seeds", "scale", "published"}


@dataclass(frozen=True)
class Run:
    """One trained model: a line of runs.yaml with its settings resolved in one study."""

    name: str
    stage: str  # of STAGES
    settings: config.Settings
    steps: dict  # milestone -> optimizer steps, in order
    tokenizer: Checkpoint | None  # its tokenizer is the start (joint) or is frozen (ar)
    published: bool
    base: str  # name of its line in runs.yaml, which all its seeds share
    from_public: bool = True  # may start from public weights; False for `tokenizer: none`

    def previous(self, milestone):
        """The previous milestone, or None for the first."""
        names = list(self.steps)
        position = names.index(milestone)
        return names[position - 1] if position else None


def run_of(runs, name, where):
    """The Run of that name. Mistake: there is none."""
    if name not in runs:
        raise Mistake(f"{where}: there is no run '{name}'. {did_you_mean(name, runs)}")
    return runs[name]


def checkpoint(runs, name, milestone, where):
    """The Checkpoint. Mistake: there is no such run, or it has no such milestone."""
    run = run_of(runs, name, where)
    if milestone not in run.steps:
        raise Mistake(
            f"{where}: run '{name}' has no step '{milestone}'. Its steps: {', '.join(run.steps)}."
        )
    return Checkpoint(run.stage, name, milestone)


def resolve(study, registry):
    """{name: Run} of all lines of runs.yaml and all their seeds, in the order of the stages.

    study: registry.Study, still without its runs; registry: the file's content. Mistake: a line
    names something that does not exist, or a name is used twice."""
    lines, stage_of = _lines(registry, study.stages)
    merged = {name: _inherited(name, lines, stage_of) for name in lines}
    seeds_of = {name: _seeds(study, name, line) for name, line in merged.items()}
    _resolution(study, {line.get("scale", 1) for line in merged.values()})
    runs = {}
    for name, line in merged.items():
        for seed in seeds_of[name]:
            run = _run(study, name, STAGES[stage_of[name]], line, seed, seeds_of, runs)
            if run.name in runs:
                raise Mistake(
                    f"runs.yaml: '{run.name}' is a line and a seed of another; rename one."
                )
            runs[run.name] = run
    return runs


def _lines(registry, stages):
    """({name: line}, {name: stage}) of those stages that the study has, in their order."""
    lines, stage_of = {}, {}
    for stage in stages:
        for name, line in (registry.get(stage) or {}).items():
            if name in lines:
                raise Mistake(f"runs.yaml: the run '{name}' is there twice; rename one.")
            configchecks.name(name, "run", f"runs.yaml, {stage}")
            lines[name], stage_of[name] = dict(line or {}), stage
    return lines, stage_of


def _inherited(name, lines, stage_of, below=()):
    """The line with the keys that it inherits; its own keys win."""
    line = lines[name]
    parent = line.get("from")
    if parent is None:
        return {k: v for k, v in line.items() if k != "from"}
    if parent not in lines:
        raise Mistake(
            f"runs.yaml, {name}: there is no run '{parent}' to take from. "
            f"{did_you_mean(parent, lines)}"
        )
    if parent in (*below, name):
        raise Mistake(f"runs.yaml, {name}: it takes from itself through '{parent}'.")
    if stage_of[parent] != stage_of[name]:
        raise Mistake(
            f"runs.yaml, {name}: '{parent}' is of stage {stage_of[parent]}; take from a run "
            f"of stage {stage_of[name]}."
        )
    inherited = _inherited(parent, lines, stage_of, (*below, name))
    inherited = {k: v for k, v in inherited.items() if k not in ("seeds", "published")}
    return inherited | {k: v for k, v in line.items() if k != "from"}


def _seeds(study, name, line):
    """The seeds of a line: those of its list, or only the study's first seed."""
    lists, chosen = study.spec["seeds"], line.get("seeds")
    if chosen is not None and chosen not in lists:
        raise Mistake(
            f"runs.yaml, {name}: study '{study.name}' has no seeds '{chosen}'. "
            f"{did_you_mean(chosen, lists)}"
        )
    return tuple(lists[chosen]) if chosen else (lists["headline"][0],)


def _suffix(seed, seeds):
    """The ending of a run's name for a seed; '' for the first seed."""
    return f"-s{seed}" if seed in seeds and seed != seeds[0] else ""


def _source(line, seed, seeds_of, runs, where):
    """The checkpoint that a line names as `tokenizer`, with the same seed if it exists."""
    reference = line.get("tokenizer")
    if reference in (None, "none"):
        return None
    name, milestone = split(reference, where)
    name += _suffix(seed, seeds_of.get(name, ()))
    return checkpoint(runs, name, milestone, where)


def _run(study, name, stage, line, seed, seeds_of, runs):
    """The Run of a line and a seed; `runs` must already hold its tokenizer's run."""
    where = f"runs.yaml, {name}"
    own = {k: v for k, v in line.items() if k not in RUN_KEYS}
    own = config.check(own, where, RUN_KEYS)
    source = _source(line, seed, seeds_of, runs, where)
    settings = {"seed": seed} | study.settings_of(stage)
    if source:
        network = runs[source.run].settings.tokenizer
        settings |= config.flatten({"tokenizer": vars(network)})
    quantizer = own.get("tokenizer.quantizer", settings.get("tokenizer.quantizer", "vq"))
    settings |= study.quantizer(quantizer, where)
    settings |= own
    settings |= _images(study, settings, line.get("scale", 1), where)
    settings |= _shape(study, settings, where) | own
    configchecks.settings(settings, where)
    steps = study.spec["milestones"][stage.name]
    return Run(
        name=name + _suffix(seed, seeds_of[name]),
        stage=stage.name,
        settings=config.build(settings, where),
        steps=configchecks.up_to(line.get("until"), steps, study.milestones, where),
        tokenizer=source,
        published=line.get("published", True),
        base=name,
        from_public=line.get("tokenizer") != "none",
    )


def _shape(study, settings, where):
    """The AR's layers, width and heads from its size, and its aligned layer from its depth."""
    size, depth = settings.get("ar.size", "l"), settings.get("align.depth", "default")
    shape = study.choice("sizes", size, where)
    if depth not in shape["depth"]:
        raise Mistake(
            f"{where}: align.depth cannot be '{depth}'. {did_you_mean(depth, shape['depth'])}"
        )
    layers = {f"ar.{k}": shape[k] for k in ("layers", "dim", "heads")}
    return layers | {"align.layer": shape["depth"][depth]}


def _resolution(study, scales):
    """Mistake where other values of the study's resolution make whole tokens, and its own does not.

    A scale that a near resolution does not mend is refused where its run is resolved."""
    settings = study.settings_of(next(iter(STAGES.values())))
    base = settings.get("data.resolution", config.Data.resolution)
    down = _downsampling(settings)

    def fits(pixels):
        return pixels > 0 and not any(pixels * scale % down for scale in (1, *scales))

    lower = base // down * down
    below = [lower - i * down for i in range(3) if fits(lower - i * down)]
    above = [lower + i * down for i in (1, 2) if fits(lower + i * down)]
    near = below[:1] + above[:1]
    if fits(base) or not near:
        return
    odd = next(scale for scale in (1, *sorted(scales)) if base * scale % down)
    said = "which" if odd == 1 else f"and {odd:g} times it, the scale of some runs,"
    raise Mistake(
        f"studies/{study.name}.yaml: settings.data.resolution is {base}, {said} is no "
        f"multiple of the tokenizer's downsampling {down}; set settings.data.resolution to "
        f"{' or '.join(map(str, near))}."
    )


def _downsampling(settings):
    multipliers = settings.get("tokenizer.multipliers", config.Tokenizer.multipliers)
    return config.Tokenizer(multipliers=multipliers).downsampling


def _images(study, settings, scale, where):
    """data.resolution and data.path of a run whose images are `scale` times the study's.

    Image files are cropped to the resolution. Images that the study makes have one folder for each
    resolution. Mistake: the resolution is no multiple of the tokenizer's downsampling."""
    base = settings.get("data.resolution", config.Data.resolution)
    down = _downsampling(settings)
    if base % down:
        raise Mistake(
            f"{where}, study '{study.name}': data.resolution is {base}, no multiple of the "
            f"tokenizer's downsampling {down}; set settings.data.resolution of the study to one."
        )
    if base * scale % down:
        raise Mistake(
            f"{where}: scale {scale:g} makes {base * scale:g} pixels of {base}, no multiple of "
            f"the tokenizer's {down}; choose another scale."
        )
    if scale == 1:
        return {}
    images: dict = {"data.resolution": int(base * scale)}
    if settings.get("data.source", config.Data.source) == "digits":
        images["data.path"] = f"{settings.get('data.path', config.Data.path)}-{base * scale:g}"
    return images
