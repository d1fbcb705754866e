"""The stage t2i: a step against a plain computation, dropped captions, resuming, the record."""

import copy
import json
import os
import signal
from collections import defaultdict
from types import SimpleNamespace

import captioned
import encoders
import numpy as np
import pytest
import shard_files
import torch
from safetensors.torch import load_file

from gear.files.hashes import sha256
from gear.runtime import checkpoint, rng
from gear.runtime.device import setup
from gear.runtime.loop import Segment
from gear.study import jobs
from gear.study.stages import STAGES
from gear.t2i import train as stage

STILL = {"ar.dropout": 0.0, "ar.token_dropout": 0.0, "ar.label_dropout": 0.5}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with shards of 1, 7 and 12 samples."""
    root = tmp_path_factory.mktemp("captioned")
    captioned.shards(root)
    return root


@pytest.fixture
def ready(home, encoder_folder, smoke_settings):
    """ready(**settings) -> (trainer whose head is not zero, its training set)."""

    def make(**changes):
        settings = smoke_settings("gear-t2i", **captioned.changes(home, **changes))
        setup(settings)
        trainer = captioned.trainer(settings, encoder_folder)
        torch.nn.init.normal_(trainer.ar_update.ar.head.weight, 0.0, 0.5)
        return trainer, captioned.training_set(home, settings)

    return make


class Listening:
    """A text encoder that remembers what it was asked."""

    def __init__(self, encoder):
        self.encoder, self.heard = encoder, []

    def __call__(self, captions):
        self.heard += captions
        return self.encoder(captions)


# ---- a step ------------------------------------------------------------------------------------


def test_a_step_is_next_token_prediction_and_half_the_alignment(ready):
    trainer, data = ready(**STILL)
    batch, settings = data.batch(0), trainer.settings
    [part] = trainer.parts(batch)
    ar, project = (copy.deepcopy(trainer.modules[name]) for name in ("ar", "projector"))
    found = trainer.step(batch, 0)

    drawn = rng.uniform((settings.seed, "caption drop"), batch.epochs, batch.indices)
    texts = ["" if u < 0.5 else text for u, text in zip(drawn, batch.captions, strict=True)]
    assert 0 < texts.count("") < len(texts)
    prefix = ar.condition(trainer.ar_update.encoder(texts))
    tokens = trainer.tokenizer.tokens(part.images)
    logits, tap = ar(ar.embedding(tokens[:, :-1]), prefix, tap=settings.align.layer)
    ntp = -logits.log_softmax(-1).gather(-1, tokens[..., None]).mean()
    h, z = project(tap), trainer.teacher(part.images)
    align = -((h * z).sum(-1) / h.norm(dim=-1) / z.norm(dim=-1)).mean()
    loss = ntp + 0.5 * align
    gradients = torch.autograd.grad(loss, [*ar.parameters(), *project.parameters()])
    norm = torch.stack([g.norm() for g in gradients]).norm()

    assert tuple(tokens.shape) == (8, 16) and tap.shape[1] == logits.shape[1] == 16
    wanted = {"ntp": ntp.item(), "align_ar": align.item(), "grad_ar": norm.item()}
    assert {k: found[k].item() for k in wanted} == pytest.approx(wanted, rel=1e-5)


def test_only_the_ar_and_the_projector_learn(ready):
    trainer, data = ready(**{"optim.warmup": 0})
    others = trainer.tokenizer, trainer.teacher, trainer.ar_update.encoder.network
    before = [copy.deepcopy(network.state_dict()) for network in others]
    trained = {name: copy.deepcopy(m.state_dict()) for name, m in trainer.modules.items()}
    trainer.step(data.batch(0), 0)
    for network, state in zip(others, before, strict=True):
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
        assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())
    assert set(trained) == set(STAGES["t2i"].trains)
    for name, state in trained.items():
        assert any(
            not torch.equal(trainer.modules[name].state_dict()[k], v) for k, v in state.items()
        )


def test_micro_batches_give_the_step_of_the_whole_batch(ready):
    found = []
    for size in (0, 2):
        trainer, data = ready(**STILL, **{"runtime.micro_batch": size})
        metrics = trainer.step(data.batch(0), 0)
        found.append({name: value.item() for name, value in metrics.items()})
    # micro-batches have other longest captions, so their sums have other padding
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_small_step_in_bfloat16_is_finite(ready, encoder_folder):
    trainer, data = ready(**{"runtime.precision": "bf16", "runtime.recompute": True})
    encoder = stage.load_encoder(encoder_folder, trainer.settings.text, "bf16")
    trainer.ar_update.encoder = encoder
    trainer.tune()
    for step in range(3):
        metrics = trainer.step(data.batch(step), step)
        assert all(value.isfinite() for value in metrics.values())
    for module in trainer.modules.values():
        assert all(p.isfinite().all() and p.dtype == torch.float32 for p in module.parameters())


def test_the_features_in_training_are_those_in_drawing(ready, encoder_folder):
    """The encoder runs in its own precision, not in the precision of the step around it."""
    trainer, data = ready(**{"runtime.precision": "bf16", "ar.label_dropout": 0.0})
    batch = data.batch(0)
    seen, condition = [], trainer.ar_update.ar.condition
    condition.register_forward_pre_hook(lambda _, given: seen.append(given[0].features_BPC))
    with trainer.autocast():
        trainer.ar_update.prefix(batch, trainer.ar_update.drawn(batch))
    assert torch.equal(seen[0], trainer.ar_update.encoder(list(batch.captions)).features_BPC)


# ---- dropped captions ----------------------------------------------------------------------------


def dropped(trainer, data, steps):
    """{(epoch, image): whether its caption was dropped} of the steps, from what was encoded."""
    listening = trainer.ar_update.encoder = Listening(trainer.ar_update.encoder)
    found = {}
    for step in steps:
        batch, listening.heard = data.batch(step), []
        for part in trainer.parts(batch):
            trainer.ar_update.prefix(part, trainer.ar_update.drawn(part))
        for place, heard, own in zip(
            zip(batch.epochs.tolist(), batch.indices.tolist(), strict=True),
            listening.heard,
            batch.captions,
            strict=True,
        ):
            assert heard in ("", own)
            found[place] = heard == ""
    return found


def test_a_caption_is_dropped_at_an_epoch_and_an_image(ready):
    """Whatever the batch; the drop of one epoch says nothing of the next."""
    whole = dropped(*ready(**{"ar.label_dropout": 0.5}), range(50))  # 400 samples, 20 epochs
    parts = dropped(*ready(**{"ar.label_dropout": 0.5, "runtime.micro_batch": 2}), range(50))
    other = dropped(*ready(**{"ar.label_dropout": 0.5, "optim.batch": 5}), range(80))
    assert whole == parts == other and len(whole) == 400
    assert 0.4 < np.mean(list(whole.values())) < 0.6
    of_image = defaultdict(set)
    for (_, image), was in whole.items():
        of_image[image].add(was)
    assert all(verdicts == {True, False} for verdicts in of_image.values())
    reseeded = dropped(*ready(**{"ar.label_dropout": 0.5, "seed": 77}), range(50))
    assert reseeded != whole


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_caption_or_each_is_dropped(ready, share):
    found = dropped(*ready(**{"ar.label_dropout": share}), range(3))
    assert set(found.values()) == {bool(share)}


# ---- stopped and resumed -------------------------------------------------------------------------

STEPS = 7  # of 8 samples: two epochs of 20 and 16 samples more


class Stopping:
    """A training set that sends SIGTERM to this process at one step, once."""

    classes = []

    def __init__(self, data, at):
        self.data, self.at = data, at

    def batch(self, step):
        if step == self.at:
            self.at = None
            os.kill(os.getpid(), signal.SIGTERM)
        return self.data.batch(step)


@pytest.fixture
def segment(home, encoder_folder, smoke_settings, tmp_path):
    def build(folder, start=0, stop=STEPS, at=None):
        changes = captioned.changes(home, **{"runtime.log_every": 2})
        settings = smoke_settings("gear-t2i", **changes)
        setup(settings)
        trainer = captioned.trainer(settings, encoder_folder)
        data = Stopping(captioned.training_set(home, settings), at)
        return Segment(trainer, data, tmp_path / folder / f"{stop}k", start, stop)

    return build


def results(segment):
    return [(segment.output / f).read_bytes() for f in ("weights.safetensors", "curves.csv")]


@pytest.fixture
def whole(segment):
    found = segment("whole")
    found.run("whole")
    return results(found)


# samples 0 to 19 are the first epoch: step 2 has the last four of it and four of the next
@pytest.mark.parametrize("at", [0, 1, 2, 4, 5])
def test_stopped_in_a_shard_or_at_an_epochs_end_it_goes_on_to_the_same_bits(segment, whole, at):
    stopped = segment("parts", at=at)
    with pytest.raises(SystemExit) as exit_:
        stopped.run("stopped")
    assert exit_.value.code == 143 and not stopped.output.exists()
    assert checkpoint.load_state(stopped.folder / "latest.pt")["step"] == at + 1
    again = segment("parts")
    again.run("again")
    assert results(again) == whole


def test_milestones_in_the_middle_of_a_shard_equal_one_run(segment, whole):
    for start, stop in ((0, 2), (2, 4), (4, STEPS)):
        last = segment("parts", start, stop)
        last.run("part")
    assert results(last) == whole


# ---- the command and its record ------------------------------------------------------------------


@pytest.fixture
def task(tmp_path, smoke_settings, encoder_folder, monkeypatch):
    """task(stop) -> run.json of `python -m gear.t2i.train`, in this process."""
    settings = smoke_settings("gear-t2i", **captioned.changes(tmp_path))
    made = captioned.made(tmp_path, settings, encoder_folder)

    def train(stop, encoder=encoder_folder):
        words = {"name": "run", "output": tmp_path / f"run/{stop}k", "data": made.manifest}
        words |= {"tokenizer": made.tokenizer, "teacher": made.teacher, "encoder": encoder}
        line = {"settings": jobs.difference(settings), "start": 0, "stop": stop}
        options = [w for name, value in words.items() for w in (f"--{name}", str(value))]
        monkeypatch.setattr("sys.argv", ["train", "--job", json.dumps(line), *options])
        stage.main()
        return json.loads((tmp_path / f"run/{stop}k/run.json").read_text())

    return SimpleNamespace(train=train, made=made, path=tmp_path)


def test_a_run_states_the_files_that_it_read(task, encoder_folder):
    record = task.train(1)
    files = [encoder_folder / "model.safetensors", encoder_folder / "tokenizer.json"]
    files += [task.made.manifest, task.made.tokenizer / "weights.safetensors"]
    files += [task.made.teacher / "weights.safetensors"]
    assert record["inputs"] == {str(file): sha256(file) for file in files}
    assert record["status"] == "finished" and record["classes"] == []
    assert record["replaced_images"] == 0
    weights = load_file(task.path / "run/1k/weights.safetensors")
    assert {key.partition(".")[0] for key in weights} == {"ar", "live", "projector"}


def test_a_state_of_another_text_encoder_is_refused(task, tmp_path):
    task.train(1)
    (tmp_path / "run/1k/weights.safetensors").unlink()
    (tmp_path / "run/state/1.pt").rename(tmp_path / "run/latest.pt")
    other = encoders.write(tmp_path / "other", seed=4)
    with pytest.raises(ValueError, match="the teacher or the text encoder has changed since"):
        task.train(2, encoder=other)


def test_replaced_images_are_counted_and_said(task, capsys):
    """One image of each shard but the first is no PNG."""
    folder = task.path / "data/train"
    for name, size, begin in (("001", 7, 1), ("002", 12, 8)):
        members = []
        for number in range(begin, begin + size):
            json_, image = shard_files.sample(number, caption=captioned.caption(number))
            members += [json_, image if number > begin else (image[0], b"no png" * 20)]
        shard_files.write(folder / f"{name}.tar", members)
    captioned.index.prepare(task.path / "data", task.made.manifest)
    record = task.train(5)  # two epochs: each is met twice and counted once
    assert record["replaced_images"] == 2
    assert "others stood in for 2 broken images" in capsys.readouterr().err
