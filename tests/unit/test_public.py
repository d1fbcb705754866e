"""A study's public weights: who starts from them, and what its jobs receive.

Jobs with public weights are compared with the same jobs without; what was read is compared with the
file's own numbers.
"""

import json

import layouts
import pytest
import torch

from gear import config
from gear.joint.train import JointTrainer
from gear.runtime import checkpoint
from gear.study import jobs
from gear.study.registry import Study
from gear.tokenizer import train
from gear.tokenizer.load import load_tokenizer
from gear.tokenizer.train import TokenizerTrainer
from gear.weights import importing

SHAPES = layouts.vq(8, (1, 1, 2), (1, 1), z=16, code=4, codes=16, image=1)
PUBLIC = "public: {vq: {layout: llamagen-tokenizer, file: vq.pt}}\n"


@pytest.fixture
def with_public(edited_config):
    """with_public(runs=(old, new)): the smoke study with a public tokenizer for VQ alone."""

    def make(runs=None, public=PUBLIC):
        folder = edited_config("studies/smoke.yaml", "sizes:\n", public + "sizes:\n")
        if runs:
            edited_config("runs.yaml", *runs)
        return Study("smoke", folder=folder)

    return make


@pytest.fixture
def public(tmp_path, smoke):
    """DEST of an import, and the state that the file held."""
    state = layouts.random(SHAPES)
    torch.save({"model": state}, tmp_path / "vq.pt")
    networks = {"vq": smoke.network("vq")}
    importing.import_weights(
        tmp_path / "vq.pt", tmp_path / "vq", "llamagen-tokenizer", networks, {}
    )
    return tmp_path / "vq"


# the study


def test_the_papers_tokenizer_stage_starts_from_public_weights(paper):
    for kind in ("vq", "lfq", "ibq"):
        assert paper.initial(kind) == f"results/paper/public/{kind}"
        assert paper.runs[kind].tokenizer is None
        assert paper.network(kind).tokenizer == paper.runs[kind].settings.tokenizer
    assert paper.initial("gear-l") == "results/paper/tokenizer/vq/400k"
    assert paper.initial("gear-l-no-init") is None


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_other_studies_start_at_random(name):
    study = Study(name)
    tokenizers = [run.name for run in study.runs.values() if run.stage == "tokenizer"]
    assert tokenizers and not any(study.initial(name) for name in tokenizers)


def test_only_the_quantizer_that_has_them_and_every_seed_of_it(with_public):
    study = with_public()
    assert study.initial("vq") == study.initial("vq-s12") == "results/smoke/public/vq"
    assert study.initial("lfq") is None and study.initial("gear-l-no-init") is None


def test_a_tokenizer_that_says_none_starts_at_random(with_public):
    study = with_public(("  vq:  {", "  raw: {tokenizer: none}\n  vq:  {"))
    assert study.initial("raw") is None and study.initial("vq")


def test_a_joint_run_without_a_tokenizer_starts_at_random(with_public):
    study = with_public(("  gear-l:  ", "  bare: {until: 400k}\n  gear-l:  "))
    assert study.runs["bare"].stage == "joint" and study.initial("bare") is None


def test_public_weights_change_no_job_of_a_training(with_public, smoke):
    study = with_public()
    for name, run in smoke.runs.items():
        for step in run.steps:
            assert jobs.training(study, name, step) == jobs.training(smoke, name, step)


def test_the_job_of_an_import_holds_what_matters(paper, with_public):
    received = json.loads(jobs.public(paper, "lfq"))
    assert received["layout"] == "open-magvit2" and received["quantizer"] == "lfq"
    assert received["file"] == "weights/pretrain256_16384.ckpt"
    assert config.build(received["settings"]).tokenizer == paper.network("lfq").tokenizer
    received = json.loads(jobs.public(with_public(), "vq"))["settings"]
    assert received["data.channels"] == 1 and received["loss.disc_channels"] == 8
    assert not [k for k in received if k.startswith(("optim", "runtime", "data.path"))]


@pytest.mark.parametrize(
    "public, match",
    [
        (PUBLIC.replace("vq:", "vqq:"), "has no quantizer 'vqq'. Did you mean 'vq'"),
        (PUBLIC.replace("file:", "fil:"), "public.vq: unknown key 'fil'. Did you mean 'file'"),
        (PUBLIC.replace("llamagen-tokenizer", "llamagen-c2i"), "layout cannot be 'llamagen-c2i'"),
        (PUBLIC.replace(", file: vq.pt", ""), "public.vq: 'file' is missing; add it"),
    ],
)
def test_a_typo_is_named_before_any_job(with_public, public, match):
    with pytest.raises(ValueError, match=match):
        with_public(public=public)


# the jobs


def call(monkeypatch, module, *arguments):
    monkeypatch.setattr("sys.argv", ["job", *map(str, arguments)])
    module.main()


def test_the_job_imports_only_the_tokenizer(with_public, tmp_path, monkeypatch):
    file = tmp_path / "gear.pt"
    public = f"public: {{vq: {{layout: gear, file: {file}}}}}\n"
    study = with_public(public=public)
    ar = layouts.random(layouts.llamagen(2, 16, 32, 16, 10))
    state = layouts.random(SHAPES)
    torch.save(layouts.gear(vq=state, ar=ar), file)
    arguments = "--job", jobs.public(study, "vq"), "--output", tmp_path / "out"
    call(monkeypatch, importing, *arguments)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "ar" in record["source"]["left_out"] and set(record["parameters"]) == {"tokenizer"}
    lfq = layouts.random(layouts.lfq(8, (1, 1, 2), (1, 1), 4, 1))
    torch.save(layouts.gear(vq=lfq), file)
    with pytest.raises(ValueError, match="holds a tokenizer of kind lfq; wanted here: vq"):
        call(monkeypatch, importing, *arguments[:3], tmp_path / "other")
    torch.save(layouts.gear(ar=ar), file)
    with pytest.raises(ValueError, match="holds no tokenizer and no AR"):
        call(monkeypatch, importing, *arguments[:3], tmp_path / "other")
    file.unlink()
    with pytest.raises(ValueError, match="gear.pt is missing; download the weights there"):
        call(monkeypatch, importing, *arguments)


def test_training_starts_from_them_with_a_discriminator_at_random(public, smoke_settings, capsys):
    settings = smoke_settings("vq")
    torch.manual_seed(5)
    trainer = TokenizerTrainer(settings, public)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].endswith("holds no discriminator: it starts at random")
    wanted = load_tokenizer(public).state_dict()
    for module in (trainer.tokenizer, trainer.average.module):
        assert all(torch.equal(v, wanted[k]) for k, v in module.state_dict().items())
    torch.manual_seed(6)
    first, other = trainer.discriminator, TokenizerTrainer(settings, public).discriminator
    assert not torch.equal(first[0].weight, other[0].weight)


def test_a_discriminator_that_is_there_is_taken(
    tmp_path, public, smoke_settings, tiny_networks, capsys
):
    trainer = tiny_networks.trainer("tokenizer", smoke_settings("vq"))
    checkpoint.save_folder(public, trainer.exports(), json.loads((public / "run.json").read_text()))
    taken = TokenizerTrainer(smoke_settings("vq"), public).discriminator
    assert torch.equal(taken[0].weight, trainer.discriminator[0].weight)
    assert not capsys.readouterr().err


def test_the_joint_stage_wants_a_discriminator(public, smoke_settings, tiny_networks):
    settings = smoke_settings("gear-l")
    with pytest.raises(ValueError, match="weights of 'discriminator' do not fit these settings"):
        JointTrainer(settings, tiny_networks.teacher(settings), public)
    without = smoke_settings("gear-l", **{"loss.gan": 0.0})
    JointTrainer(without, tiny_networks.teacher(without), public)


def test_the_training_job_passes_them_on(public, smoke_settings, monkeypatch, tmp_path):
    """gear.tokenizer.train --tokenizer DIR, up to its first step."""
    settings, made = smoke_settings("vq"), []
    monkeypatch.setattr(train, "training_set", lambda *_: None)
    monkeypatch.setattr(train, "TokenizerTrainer", lambda s, initial: (s, initial))

    class Segment:
        def __init__(self, trainer, data, output, start, stop, inputs):
            made.append((trainer, inputs))

        def run(self, name):
            pass

    monkeypatch.setattr(train, "Segment", Segment)
    line = jobs.line({"settings": config.difference(settings), "start": 0, "stop": 1})
    arguments = ["--job", line, "--name", "vq@400k", "--output", tmp_path, "--data", "manifest"]
    call(monkeypatch, train, *arguments, "--tokenizer", public)
    call(monkeypatch, train, *arguments)
    (trainer, inputs), (fresh, alone) = made
    assert trainer == (settings, str(public)) and fresh == (settings, None)
    assert inputs == ["manifest", public / "weights.safetensors"] and alone == ["manifest"]
    other = jobs.line({**json.loads(line), "settings": config.difference(smoke_settings("ibq"))})
    arguments[1] = other
    with pytest.raises(ValueError, match="holds another tokenizer than this run's settings name"):
        call(monkeypatch, train, *arguments, "--tokenizer", public)
