"""Names and paths of config/ that a shell, an option parser or Snakemake could misread.

Each part of a study that has names, and each key that is a path, is given one that is refused; what
is allowed is tried for the signs that people do use.
"""

import re

import pytest

from gear.files.mistakes import Mistake
from gear.study import configchecks
from gear.study.registry import Study, studies
from gear.tokenizer.load import settings_of


@pytest.mark.parametrize("name", ["a", "cfg1.25", "gear-l", "_x", "A.b-c_9", "400k"])
def test_names_that_can_be(name):
    configchecks.name(name, "run", "here")


@pytest.mark.parametrize("name", [
    "", "-a", ".a", "a b", "a;b", "$(a)", "a/b", "a\n", "\n", "é", "{a}", "a@b", "a'b", "..", 5,
])  # fmt: skip
def test_names_that_cannot_be(name):
    with pytest.raises(Mistake, match="^here: .* cannot be the name of a run; take letters"):
        configchecks.name(name, "run", "here")


@pytest.mark.parametrize(
    "path", ["data/größe λ", "/a b/c;d", "../x", "a'b\"c", "a~/ä", "مسیر/数据", "s3"]
)
def test_paths_that_can_be(path):
    configchecks.path(path, "x", "here")


@pytest.mark.parametrize("path, said", [
    ("", "is empty"), ("-rf", "begins with '-'"), ("a\nb", "control"), ("a\x00b", "control"),
    ("a\x7f", "control"), ("a\u2028b", "control"), ("a\udcff", "control"), ("a{b}", "holds one of"),
    ("a}", "holds one of"), ("<a>", "holds one of"), ("~/ä", "begins with '~'"),
    (5, "is no text"), ({"a": 1}, "is no text"),
])  # fmt: skip
def test_paths_that_cannot_be(path, said):
    with pytest.raises(Mistake, match=said):
        configchecks.path(path, "x", "here")


@pytest.mark.parametrize("study", studies())
@pytest.mark.parametrize("part", configchecks.NAMED)
def test_every_named_part_of_a_study_is_checked(study, part):
    spec = dict(Study(study).spec)
    configchecks.study(spec, "here")
    spec[part] = {**spec.get(part, {}), "a;touch x": {}}
    with pytest.raises(Mistake, match=f"here, {part}: 'a;touch x' cannot be the name of a"):
        configchecks.study(spec, "here")


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("studies/paper.yaml", "file: weights/vq_ds16_c2i.pt", 'file: "-a"'),
        ("studies/paper.yaml", "weights: weights/dinov2_vitb14_pretrain.pth", 'weights: "a{b"'),
        ("studies/paper.yaml", "weights: weights/pt_inception", "weights: -"),
        ("studies/paper.yaml", "reference: weights/VIRTUAL", "reference: -"),
        ("studies/paper.yaml", "settings: {}", 'settings: {data.path: "a\\nb"}'),
        ("studies/paper.yaml", "settings: {}", 'settings: {loss.vgg16: "-a"}'),
        ("runs.yaml", "loss.gan: 0.0}", 'loss.gan: 0.0, loss.vgg16: "a{b}"}'),
    ],
)
def test_every_path_is_checked(edited_config, file, old, new):
    with pytest.raises(Mistake, match="the path '.*' of .*; name another"):
        Study("paper", folder=edited_config(file, old, new))


@pytest.mark.parametrize(
    "old, new, sentence",
    [
        ("  dinov2: {kind", '  "$(touch ran)": {kind', "'$(touch ran)' cannot be the name of a t"),
        ("  vq: {tok", '  "`touch ran`": {tok', "'`touch ran`' cannot be the name of a quantizer"),
        ("  xl: {layers", '  "-rf": {layers', "'-rf' cannot be the name of a size"),
        ("path: data/digits-smoke", "path: 'data/{run}'", "holds one of { } < >"),
        ("path: data/digits-smoke", 'path: "data/a\\nb"', "holds a control character"),
    ],
)
def test_a_word_that_a_shell_would_read_is_refused(edited_config, old, new, sentence):
    folder = edited_config("studies/smoke.yaml", old, new)
    with pytest.raises(Mistake, match=re.escape(sentence)):
        Study("smoke", folder=folder)


def test_a_run_a_study_and_results_are_checked(edited_config, tmp_path):
    folder = edited_config("runs.yaml", "\n  gear-b: ", '\n  "gear-b\\n": ')
    with pytest.raises(Mistake, match="cannot be the name of a run"):
        Study("smoke", folder=folder)
    (folder / "studies" / "a b.yaml").write_text((folder / "studies/smoke.yaml").read_text())
    with pytest.raises(Mistake, match="'a b' cannot be the name of a study"):
        Study("a b", folder=folder)
    for results, said in (("-x", "begins with"), ("a{run}", "holds one of"), ("<a>", "holds one")):
        with pytest.raises(Mistake, match=f"the path '{results}' of results {said}"):
            Study("smoke", results=results)
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match="file is a file, but results=.* needs a folder"):
        Study("smoke", results=f"{tmp_path}/file/below")


@pytest.mark.parametrize(
    "old, new, sentence",
    [
        (", seed: 0}\nseeds", ", seed: 0, maker: digits}\nseeds", "data.maker is gone; delete it"),
        ("hold: memory", "crop: none", "setting 'data.crop' is gone; write data.hold: memory for"),
        ("hold: memory", "name: digits", "setting 'data.name' is gone; delete it"),
        ("hold: memory", "hold: stream", "digits are held in memory; set settings.data.hold"),
        ("val: 2048, seed: 0", "seed: 0", "digits needs the number data.val; add it"),
    ],
)
def test_where_images_come_from(edited_config, old, new, sentence):
    with pytest.raises(Mistake, match=f"studies/demo.yaml.*: .*{sentence}"):
        Study("demo", folder=edited_config("studies/demo.yaml", old, new))


def test_a_checkpoint_of_the_old_form_names_the_new_key(tmp_path):
    (tmp_path / "run.json").write_text('{"settings": {"data.crop": "none"}}')
    with pytest.raises(Mistake, match=f"^{tmp_path}: .*'data.crop' is gone; write data.hold"):
        settings_of(tmp_path)
