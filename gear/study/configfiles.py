"""The files of config/ as data, checked while they are read."""

from pathlib import Path

import yaml

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_text

CONFIG = Path(__file__).resolve().parents[2] / "config"
LARGEST = 1_000_000  # values of a file
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def studies(folder=CONFIG):
    """The names of all studies, sorted."""
    return sorted(p.stem for p in (folder / "studies").glob("*.yaml"))


# the C library is not everywhere
_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """YAML whose keys must be text and unique; plain YAML takes the last of several equal keys.

    Anchors and merge keys work. deep=True refuses an anchor that contains itself."""

    def construct_mapping(self, node, deep=False):
        names = set()
        for key, _ in node.value:
            if key.tag not in (TEXT, MERGE):
                name = f"key '{key.value}'" if isinstance(key, yaml.ScalarNode) else "key"
                fault = f"the {name} is no text; put it in quotes"
            elif key.value in names:
                fault = f"'{key.value}' is there twice; rename or remove one"
            else:
                names.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(None, None, fault, key.start_mark)
        return super().construct_mapping(node, deep=True)

    def construct_sequence(self, node, deep=False):
        return super().construct_sequence(node, deep=True)


def read_yaml(path):
    """The content of a YAML file. Mistake: it cannot be read, or its YAML is not valid."""
    try:
        text = read_text(path)
    except OSError as error:
        raise Mistake(f"{path} cannot be read ({error.strerror}); put the file there.") from None
    try:
        content = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem or "it cannot be parsed"
        cure = "" if ";" in problem else "; correct it"
        raise Mistake(f"{path} is not valid YAML, line {line}: {problem}{cure}.") from None
    except RecursionError:
        raise Mistake(f"{path} is not valid YAML: it nests too deep; flatten it.") from None
    # for example a date with month 13, a control character, or a tag !!bool before a text
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise Mistake(
            f"{path} is not valid YAML: a value is wrong ({reason}); correct it."
        ) from None
    if _expanded(content, {}) > LARGEST:
        raise Mistake(f"{path} repeats anchors more than {LARGEST:,} times; write less of them.")
    return content


def _expanded(node, known):
    """How many values a content has where each alias counts as a copy of its anchor.

    known: {id of a node: its number}, so that a bomb of aliases is counted in a moment."""
    if not isinstance(node, dict | list):
        return 1
    if id(node) not in known:
        inside = node.values() if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_expanded(part, known) for part in inside)
    return known[id(node)]


def check_schema(kind, data, where):
    """Mistake unless `data` fits the model of its kind (gear/study/models/); where: its file."""
    from gear.study.schema import check  # needs pydantic, which the machine of a job may lack

    check(kind, data, f"config/{where}")


def read_checked(name, folder=CONFIG):
    """The content of config/<name>.yaml. Mistake: it does not fit its model."""
    data = read_yaml(folder / f"{name}.yaml")
    check_schema(name.split("/")[0], data, f"{name}.yaml")
    return data


def read_entries(kind, folder=CONFIG):
    """{name: table or figure} of tables.yaml or figures.yaml.

    Where a table names a list of `columns`, its `metrics` are that list. Mistake: no such list."""
    entries = read_checked(kind, folder)
    lists = entries.pop("columns", {}) if kind == "tables" else {}
    for name, entry in entries.items():
        metrics = entry.get("metrics")
        if isinstance(metrics, str):
            if metrics not in lists:
                cure = did_you_mean(metrics, lists)
                raise Mistake(f"{kind}.yaml, {name}: there are no columns '{metrics}'. {cure}")
            entry["metrics"] = list(lists[metrics])
    return entries


def chosen(listed, entries, where, kind, stages):
    """{name: entry} of a study's list, in its order.

    Where the list is `all`, it has all entries but those whose `stage` is none of the study's.
    Mistake: the list names an entry that does not exist."""
    for name in () if listed == "all" else listed:
        if name not in entries:
            cure = did_you_mean(name, entries)
            raise Mistake(f"{where}: there is no {kind[:-1]} '{name}' in {kind}.yaml. {cure}")
    if listed == "all":
        return {k: v for k, v in entries.items() if v.get("stage", stages[0]) in stages}
    return {name: entries[name] for name in listed}
