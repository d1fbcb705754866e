"""Each key of config/ and each name in it, misspelt by one letter, ends in one sentence with the
right one; so does each number out of its range.

The models are walked beside the files themselves, so that a key that is added is tested too.
"""

import copy
import datetime
import math
import re
import types
import typing

import pydantic
import pytest

from gear import config
from gear.files.mistakes import Mistake
from gear.plan.budget import throughput
from gear.study.configfiles import check_schema, read_yaml, studies
from gear.study.models.base import Entry
from gear.study.models.study import Run, SeedLists
from gear.study.registry import CONFIG, Study
from gear.study.resolve import RUN_KEYS
from gear.study.schema import KINDS
from gear.study.specs.claims import claims_spec
from gear.study.specs.tables import figure_spec, table_spec

FILES = [f"studies/{name}" for name in studies()]
FILES += ["runs", "tables", "figures", "claims", "devices"]
CONTENTS = {file: read_yaml(CONFIG / f"{file}.yaml") for file in FILES}
LIMITS = ("below", "above")  # of claims: any number that a metric may have


def sentence(caught):
    text = str(caught.value)
    assert text[-1] in ".?" and "\n" not in text
    return text


def misspelt(word):
    """With its last letter twice, and without the one in the middle."""
    middle = len(word) // 2
    return word + word[-1], word[:middle] + word[middle + 1 :]


def fits(annotation, data):
    try:
        pydantic.TypeAdapter(annotation).validate_python(data)
    except pydantic.ValidationError:
        return False
    return True


def is_model(annotation):
    return isinstance(annotation, type) and issubclass(annotation, Entry)


def walk_model(model, data, path):
    yield model, (), path
    for name, field in model.model_fields.items():
        key, value = field.alias or name, data.get(field.alias or name, field.default)
        if key in data or field.annotation in (int, float):
            yield from walk(field.annotation, value, (*path, key), field.metadata)
    extra = typing.get_args(model.__annotations__.get("__pydantic_extra__"))
    for key in [key for key in data if key not in model.keys()] if extra else ():
        yield from walk(extra[1], data[key], (*path, key))


def walk(annotation, data, path=(), ends=()):
    """(model or type, ends of its range, path) of each part of a file, and of each number that a
    mapping of it may have."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if is_model(annotation):
        yield from walk_model(annotation, data, path)
    elif origin is typing.Annotated:
        fields = [end for end in arguments[1:] if hasattr(end, "metadata")]
        ends = [*ends, *(end for field in fields for end in field.metadata)]
        yield from walk(arguments[0], data, path, ends)
    elif origin in (typing.Union, types.UnionType):
        member = next(member for member in arguments if fits(member, data))
        yield from walk(member, data, path, ends)
    elif origin in (dict, list) and arguments:
        for key, value in data.items() if origin is dict else enumerate(data):
            yield from walk(arguments[-1], value, (*path, key))
    else:
        yield annotation, ends, path


def parts():
    """{model, or model and key of a number: (file, type, ends, path)}, where each is first."""
    first = {}
    for file, content in CONTENTS.items():
        model = None
        for what, ends, path in walk(KINDS[file.split("/")[0]], content):
            model = what if is_model(what) else model
            own = what if is_model(what) else (model, *(k for k in path[-2:] if k in ALL_KEYS))
            first.setdefault(own, (file, what, ends, path))
    return first


def leaves(model):
    """The models under one that have none under them."""
    return set().union(*map(leaves, model.__subclasses__())) or {model}


ALL_MODELS = leaves(Entry)
ALL_KEYS = {key for model in ALL_MODELS for key in model.keys()}
PARTS = parts()
NUMBERS = [part for part in PARTS.values() if part[1] in (int, float)]
KEYS = [
    (PARTS[model][0], PARTS[model][3], key)
    for model in sorted(ALL_MODELS - {Run, SeedLists}, key=lambda m: (m.__name__, m.__module__))
    for key in model.keys()
]


def changed(file, path, value):
    """The file's content with that value at a path."""
    content = copy.deepcopy(CONTENTS[file])
    node = content
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return content


def refusal(file, path, key, value):
    """What is said where the mapping or list at `path` of a file has that value at `key`."""
    content = changed(file, (*path, key), value)
    with pytest.raises(Mistake) as caught:
        check_schema(file.split("/")[0], content, f"{file}.yaml")
    return sentence(caught)


def test_the_files_have_all_models():
    assert {own for own in PARTS if is_model(own)} == ALL_MODELS


@pytest.mark.parametrize("file, path, key", KEYS)
def test_a_misspelt_key(file, path, key):
    for wrong in misspelt(key):
        said = refusal(file, path, wrong, {"x": ["gfid"]} if key == "columns" else 0)
        assert f"unknown key '{wrong}'. Did you mean '{key}'?" in said


@pytest.mark.parametrize("key", sorted({*config.TYPES, *RUN_KEYS}))
def test_a_misspelt_setting(key):
    for wrong in misspelt(key):
        with pytest.raises(Mistake) as caught:
            config.check({wrong: 0}, "runs.yaml, x", RUN_KEYS)
        assert f"unknown setting '{wrong}'. Did you mean '{key}'?" in sentence(caught)
        if key in config.TYPES:
            said = refusal("studies/smoke", ("settings",), wrong, 0)
            assert f"settings: unknown setting '{wrong}'. Did you mean '{key}'?" in said


@pytest.mark.parametrize("file, what, ends, path", NUMBERS)
def test_a_number_out_of_its_range(file, what, ends, path):
    beyond = {"ge": -1, "gt": 0, "le": 1, "lt": 0}
    names = [(name, getattr(end, name)) for end in ends for name in beyond if hasattr(end, name)]
    assert {"ge", "gt"} & dict(names).keys() or path[-2] in LIMITS
    outside = [value + beyond[name] for name, value in names]
    for value in (*outside, math.nan, math.inf, True, "1e-4", None):
        said = refusal(file, path[:-1], path[-1], value)
        assert f"{'.'.join(map(str, path))} is {value!r}; it must be " in said


ODD = (None, 5, -1.5, True, math.nan, "x", "list", "a\nb", b"x", [], [5], ["x", "x"], {}, {"x": {}})
ODD += ({"a\nb": 1}, {"kind": 5}, {"kind": "x"}, datetime.date(2026, 1, 1))


@pytest.mark.parametrize("file, what, ends, path", [p for p in PARTS.values() if p[3]])
def test_an_odd_value_is_refused_in_one_sentence(file, what, ends, path):
    refused = 0
    for value in ODD:
        try:
            check_schema(file.split("/")[0], changed(file, path, value), f"{file}.yaml")
        except Mistake as error:
            refused += 1
            assert "\n" not in str(error) and str(error)[-1] in ".?"
    assert refused >= 5


def numbers(hint):
    """The types of the numbers of a setting of that type."""
    return [t for t in (hint, *typing.get_args(hint)) if t in (int, float)]


NUMBERS = [n for n, hint in config.TYPES.items() if numbers(hint) and n not in config.CHOICES]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_out_of_its_range(name):
    several, number = typing.get_origin(config.TYPES[name]) is tuple, numbers(config.TYPES[name])[0]
    low, high = (float(end) for end in config.RANGES[name][1:-1].split(","))
    outside = [number(low - 1), *([number(high + 1)] if math.isfinite(high) else [])]
    for value in (*outside, math.nan, math.inf, True, "1e-4"):
        with pytest.raises(Mistake) as caught:
            config.check({name: [value, value] if several else value}, "x")
        assert f"x: setting '{name}' is {value!r}; it must be " in sentence(caught)


def test_the_defaults_are_in_their_ranges():
    assert set(config.RANGES) <= set(config.TYPES)
    flat = config.flatten(config.dataclasses.asdict(config.Settings()))
    assert config.build(flat) == config.Settings()


# file | text of it, in which «right→wrong» is a name
NAMES = """
runs | from: «gear-l→gear-ll», ar.size: b
runs | tokenizer: «vq→vqq»@400k, until
runs | tokenizer: vq@«400k→400kk», until
runs | tokenizer: vq@«400k→40k», until
runs | ar.size: «xl→xll»}
runs | align.depth: «early→earl»}
runs | align.teacher: «dinov3→dinov»}
runs | tokenizer.quantizer: «lfq→lf»}
runs | joint.readout: «soft→sof»,
runs | until: «100k→10k», align.depth: early
runs | vq:  {until: 400k, seeds: «headline→headlin»}
tables | run: «gear-l-tau0.5→gear-l-tau0.55»@400k
tables | run: gear-l-tau0.5@«400k→40k»
tables | metrics: [«gfid→gfidd», is,
tables | metrics: «generation+reconstruction→generation+reconstructio»
tables | [gfid, sfid, is, «precision→precisio», recall]
tables | samplers: [plain, «cfg→cf»]
tables | sampler: «cfg1.25→cfg1.255»
tables | seeds: «headline→headlin»
tables | paper: "«tau 0.500→tau 0.50»"
tables | baseline: "«VQVAE→VQVA»"
tables | default: "«τ = 0.1→τ = 0.11»"
tables | ["GEAR", "«λ = 0 control→λ = 0 contro»"]
tables | metrics: [«fdd→ffdd», precision
tables | sampler: «text-cfg16→text-cfg166», coco
tables | quoted_under: «text-cfg1.75→text-cfg1.7»
tables | setting: «align.layer→align.laye»
tables | kind: «configuration→configuratio»
tables | run: «gear-t2i→gear-t2»@390k, sampler: text,
figures | runs: [«gear-b-frozen→gear-b-froze»]
figures | baseline: «LlamaGen-REPA-B→LlamaGen-REPA-BB»
figures | metric: «gfid→gfi»
figures | sampler: «plain→plai»
figures | samplers: [plain, «cfg→cfgg»]
figures | paper: "«LlamaGen-B 300→LlamaGen-B 30»"
figures | run: gear-b-frozen@«1500k→150k»
figures | {GEAR-L: «gear-l→gear-ll»,
figures | {warm-up: «vq→vqq»@400k, GEAR-L
figures | kind: «bars→bar»
figures | run: «gear-t2i→gear-t2ii», baseline
figures | paper: «GEAR-1.0B→GEAR-1.0BB»
claims | page: «claims_t2i→claims_t2ii»
claims | metric: «align→aligned», sooner
claims | metric: digit, sampler: «text-cfg16→text-cfg166»
claims | table: «control→contro», sds
claims | table: «components→component»
claims | figure: «convergence→convergenc»
claims | metric: «gfid→gfi», sampler: plain, lower
claims | metric: gfid, sampler: «plain→plai», lower
claims | [[w/ STE, «GEAR→GEA»]]
claims | below: {«w/ STE→w/ STEE»: 0.2}
claims | [«GEAR-B→GEAR-BB», GEAR-L, GEAR-XL]
studies/smoke | tables: [«overview→overvie»
studies/smoke | figures: [«samples→sample»
studies/paper | tables: «all→al»
studies/demo | source: «digits→digit»,
studies/demo | hold: «memory→memor»,
studies/paper | «train_joint→train_join»: {gpus
studies/paper | seeds: {«headline→headlin»:
studies/paper | joint: {«100k→10k»:
studies/paper |   «vq→vqq»: {layout
studies/paper | layout: «ibq→ibqq»
studies/paper | network: «dinov3→dinov»
studies/paper | kind: «inception→inceptio»
studies/paper | name: «adm→admm»
studies/paper | name: «reconstruction→reconstructio»
studies/paper | rounding: «none→non»
studies/paper | kernel: «inner→inne»
studies/paper | cka: «biased→biase»
studies/demo | objective: «masked_patch→masked_patc»
"""


@pytest.mark.parametrize("line", NAMES.strip().splitlines())
def test_a_misspelt_name(edited_config, line):
    file, text = line.split(" | ")
    before, right, wrong, after = re.fullmatch("(.*)«(.*)→(.*)»(.*)", text).groups()
    folder = edited_config(f"{file}.yaml", before + right + after, before + wrong + after)
    with pytest.raises(Mistake) as caught:
        study = Study(file.split("/")[1] if "/" in file else "demo", folder=folder)
        [table_spec(study, name) for name in study.tables]
        [figure_spec(study, name) for name in study.figures]
        claims_spec(study)
    said = sentence(caught)
    assert right in said.partition(f"{wrong}'")[2] or f"'{right}' is missing" in said


def test_a_misspelt_device_and_study(smoke):
    with pytest.raises(Mistake, match="no device 'cpu-coree' .* Did you mean 'cpu-core'"):
        throughput("cpu-coree", smoke)
    with pytest.raises(Mistake, match="no study 'papr'. Did you mean 'paper'"):
        Study("papr")
