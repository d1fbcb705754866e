"""The files of config/ as data, checked against their schema while they are read."""

import json
from pathlib import Path

import yaml

from gear.files.mistakes import Mistake, did_you_mean
from gear.files.reading import read_text

CONFIG = Path(__file__).resolve().parents[2] / "config"
SCHEMAS = CONFIG.parent / "workflow" / "schemas"


def studies(folder=CONFIG):
    """The names of all studies."""
    return sorted(p.stem for p in (folder / "studies").glob("*.yaml"))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML in which a key that is there twice is an error, where plain YAML takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for (key, _), name in zip(node.value, keys, strict=True):
            if keys.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{name}' is there twice; rename or remove one", key.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path):
    """The file's content. Mistake says where the YAML is broken."""
    text = read_text(path)
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:  # such as a date of month 13
        raise Mistake(f"{path} is not valid YAML: {error}") from None


def check_schema(kind, data, where):
    """Mistake unless `data` fits workflow/schemas/<kind>.schema.json; `where` is its file."""
    import jsonschema

    schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(data), key=lambda e: list(map(str, e.path))):
        place = ".".join(str(p) for p in error.absolute_path) or "the file"
        if error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            extra = sorted(set(error.instance) - set(known))[0]
            raise Mistake(
                f"config/{where}: unknown key '{extra}' in {place}. {did_you_mean(extra, known)}"
            )
        raise Mistake(f"config/{where}: {place}: {error.message}.")
