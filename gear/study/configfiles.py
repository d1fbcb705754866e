"""The files of config/ as data, checked while they are read."""

from pathlib import Path

import yaml

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_text

CONFIG = Path(__file__).resolve().parents[2] / "config"
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def studies(folder=CONFIG):
    """The names of all studies."""
    return sorted(p.stem for p in (folder / "studies").glob("*.yaml"))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML whose keys are text and there once, where plain YAML takes the last of several.

    Anchors and merge keys work; deep=True refuses an anchor that holds itself."""

    def construct_mapping(self, node, deep=False):
        names = set()
        for key, _ in node.value:
            if key.tag not in (TEXT, MERGE):
                name = f"key '{key.value}'" if isinstance(key, yaml.ScalarNode) else "key"
                said = f"the {name} is no text; put it in quotes"
            elif key.value in names:
                said = f"'{key.value}' is there twice; rename or remove one"
            else:
                names.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
        return super().construct_mapping(node, deep=True)

    def construct_sequence(self, node, deep=False):
        return super().construct_sequence(node, deep=True)


def read_yaml(path):
    """The file's content. Mistake says where the YAML is broken."""
    try:
        text = read_text(path)
    except OSError as error:
        raise Mistake(f"{path} cannot be read ({error.strerror}); put the file there.") from None
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line, said = error.problem_mark.line + 1, error.problem
        said += "" if ";" in said else "; correct it"
        raise Mistake(f"{path} is not valid YAML, line {line}: {said}.") from None
    except RecursionError:
        raise Mistake(f"{path} is not valid YAML: it nests too deep; flatten it.") from None
    # such as a date of month 13, a control character, or a tag !!bool before a text
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise Mistake(f"{path} is not valid YAML: a value is none ({said}); correct it.") from None


def check_schema(kind, data, where):
    """Mistake unless `data` fits its kind's model (gear/study/models/); `where` is its file."""
    from gear.study.schema import check  # pydantic, which a job's machine may not have

    check(kind, data, f"config/{where}")


def read_checked(name, folder=CONFIG):
    """The content of config/<name>.yaml. Mistake where it does not fit its model."""
    data = read_yaml(folder / f"{name}.yaml")
    check_schema(name.split("/")[0], data, f"{name}.yaml")
    return data


def read_entries(kind, folder=CONFIG):
    """{name: table or figure} of tables.yaml or figures.yaml.

    A table that names one of the lists under `columns` has the list itself as its metrics."""
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


def chosen(listed, entries, where, kind):
    """The entries of a study's list, in its order; all of them where the list is `all`."""
    for name in () if listed == "all" else listed:
        if name not in entries:
            cure = did_you_mean(name, entries)
            raise Mistake(f"{where}: there is no {kind[:-1]} '{name}' in {kind}.yaml. {cure}")
    return entries if listed == "all" else {name: entries[name] for name in listed}
