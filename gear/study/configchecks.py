"""Checks of the files of config/ that their models cannot make.

Names become parts of rules, paths and command lines. Paths are quoted in every shell, so only those
are refused that Snakemake or an option parser would misread. The name of a rule or milestone that
does not exist is refused too, because it would have no effect.
"""

import re
import unicodedata
from pathlib import Path

from gear.files.mistakes import Mistake, did_you_mean
from gear.study import jobs
from gear.study.published import published_samplers

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
NAMED = ("seeds", "quantizers", "public", "sizes", "teachers", "samplers")  # parts of a study
REFUSED = ("Cc", "Cs", "Zl", "Zp")  # Unicode's controls, broken bytes, line separators
SIZED = ("ar.layers", "ar.dim", "ar.heads", "align.layer")  # what an entry of `sizes` sets
PATHS = {"data.path": True, "loss.vgg16": False}  # settings that are paths: is each required?


def name(text, what, where):
    """Mistake unless a name can be part of a path, a rule and a command line."""
    if not isinstance(text, str) or not NAME.fullmatch(text):
        raise Mistake(
            f"{where}: {text!r} cannot be the name of a {what}; take letters, digits, '.', '_' and "
            "'-', with a letter, a digit or '_' in front."
        )


def path(text, what, where):
    """Mistake unless a path is valid for Snakemake and for a command line."""
    if not isinstance(text, str):
        fault = "is no text, but a value that YAML has a form for"
    elif not text:
        fault = "is empty"
    elif text.startswith("-"):
        fault = "begins with '-', as an option does"
    elif text.startswith("~"):
        fault = "begins with '~', which only a shell reads as the home folder"
    elif any(unicodedata.category(sign) in REFUSED for sign in text):
        fault = "holds a control character"
    elif any(sign in text for sign in "{}<>"):
        fault = "holds one of { } < >, which Snakemake reads as names of its own"
    else:
        return
    raise Mistake(f"{where}: the path {text!r} of {what} {fault}; name another.")


def settings(flat, where):
    """Mistake where a run's settings contradict each other, or a path is not valid.

    flat: {dotted name: value}; it includes the AR's shape and the aligned layer."""
    for setting, required in PATHS.items():
        if setting in flat and (required or flat[setting]):
            path(flat[setting], setting, where)
    layer, layers = flat["align.layer"], flat["ar.layers"]
    if layer > layers:
        raise Mistake(
            f"{where}: align.layer is {layer}, but the AR has {layers} layers; take one of them."
        )
    dim, heads = flat["ar.dim"], flat["ar.heads"]
    if dim % heads:
        raise Mistake(f"{where}: ar.dim {dim} is no multiple of ar.heads {heads}; change one.")


def lookups(runs):
    """Mistake where a run's data.lookup is true, but its images are not in memory, or change by the
    step."""
    for name, run in runs.items():
        data = run.settings.data
        if data.lookup and (data.hold != "memory" or data.flip):
            raise Mistake(
                f"runs.yaml, {name}: data.lookup is true, which needs data.hold: memory and "
                f"data.flip: false, not {data.hold} and {str(data.flip).lower()}; change these, or "
                "set data.lookup: false."
            )


def not_sized(flat, where):
    """Mistake where a study's settings have a value that each of its sizes sets."""
    for setting in SIZED:
        if setting in flat:
            raise Mistake(
                f"{where}: {setting} has no effect here, because each of `sizes` sets it; change "
                "it there, or in a run of runs.yaml."
            )


def claims(study):
    """Mistake where claims.yaml names a table or a sampler that does not exist."""
    pages, tables = study.claims.get("pages", {}), study.named["tables"]
    spreads = {"spread": study.claims["spread"]}
    spreads |= {f"pages.{name}.spread": page["spread"] for name, page in pages.items()}
    for page in pages:
        if page in tables or page == "claims":
            raise Mistake(
                f"claims.yaml, pages: there is a table '{page}' already; rename the page."
            )
    for where, spread in spreads.items():
        table = spread["table"]
        if table not in tables:
            cure = did_you_mean(table, tables)
            raise Mistake(f"claims.yaml, {where}: there is no table '{table}'. {cure}")
    for claim in study.claims["claims"]:
        page = claim.get("page", "claims")
        if page not in ("claims", *pages):
            cure = did_you_mean(page, pages)
            raise Mistake(f"claims.yaml, '{claim['claim']}': there is no page '{page}'. {cure}")
        for test in claim["tests"] if claim.get("table") in study.tables else ():
            if test.get("sampler") not in (None, *published_samplers(study)):
                study.sampler(test["sampler"], f"claims.yaml, '{claim['claim']}'")


def place(study, results):
    """Mistake where the name of a study or the folder of results is not valid."""
    name(study, "study", "config/studies")
    path(results, "results", "--config or --results")
    for folder in (Path(results), *Path(results).parents):
        if folder.exists() and not folder.is_dir():
            raise Mistake(
                f"{folder} is a file, but results={results} needs a folder; name another."
            )


def study(spec, where):
    """Mistake where a study's names, paths or `jobs` are not valid."""
    for part in NAMED:
        for text in spec.get(part, {}):
            name(text, part.removesuffix("s"), f"{where}, {part}")
    for part, keys in (("teachers", ("weights",)), ("public", ("file",))):
        for entry, content in spec.get(part, {}).items():
            for key in keys:
                if key in content:
                    path(content[key], key, f"{where}, {part}.{entry}")
    for key in ("weights", "reference"):
        if key in spec["features"]:
            path(spec["features"][key], key, f"{where}, features")
    for rule in spec.get("jobs", {}):
        if rule not in jobs.RULES:
            cure = did_you_mean(rule, jobs.RULES)
            raise Mistake(f"{where}, jobs: there is no rule '{rule}'. {cure}")


def images(counts, data, where):
    """Mistake where a study's images cannot come from their source.

    counts: the study's `data`; data: config.Data."""
    if data.source != "digits":
        if "val_share" in counts and data.hold != "stream":
            raise Mistake(
                f"{where}: data.val_share splits a folder whose files are read when they are "
                "needed; set settings.data.hold: stream."
            )
        return
    if data.hold != "memory":
        raise Mistake(
            f"{where}: images of data.source: digits are held in memory; set settings.data.hold: "
            "memory."
        )
    for key in ("train", "val", "seed"):
        if key not in counts:
            raise Mistake(f"{where}: data.source: digits needs the number data.{key}; add it.")


def milestones(spec, names, where):
    """Mistake unless a study's milestones are some of `names`, in that order, at ascending steps.

    names: the milestones of runs.yaml, which all studies share."""
    for stage, steps in spec["milestones"].items():
        place = f"{where}, milestones.{stage}"
        for milestone in steps:
            if milestone not in names:
                cure = did_you_mean(milestone, names)
                raise Mistake(f"{place}: runs.yaml has no milestone '{milestone}'. {cure}")
        if list(steps) != [n for n in names if n in steps]:
            raise Mistake(f"{place}: list them in the order of runs.yaml, {', '.join(names)}.")
        before = 0
        for milestone, step in steps.items():
            if step <= before:
                raise Mistake(
                    f"{place}: {milestone} is at step {step}, which must be above the {before} of "
                    "the milestone before it."
                )
            before = step


def up_to(until, steps, names, where):
    """{milestone: step} of a run whose last milestone is `until`.

    steps: those of the study. Where all of them are later than `until`, the run has the first one.
    Mistake: no milestone has that name."""
    if until is None:
        return dict(steps)
    if until not in names:
        raise Mistake(f"{where}: until cannot be '{until}'. {did_you_mean(until, names)}")
    last = names.index(until)
    return {k: v for k, v in steps.items() if names.index(k) <= last} or dict([*steps.items()][:1])
