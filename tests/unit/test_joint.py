"""The joint step: which parameters each loss reaches, under each switch, and by how much."""

import copy
import dataclasses
import itertools

import pytest
import torch

from gear.alignment.loss import alignment_loss
from gear.ar import train as ar_train
from gear.data import memory
from gear.files import aside as files
from gear.runtime import checkpoint, optim
from gear.tokenizer.train import TokenizerTrainer

READOUTS = ("soft", "straight_through")
LOSSES = (("align",), ("ntp",), ("align", "ntp"))
PATHS = ("input", "target", "both")
CELLS = list(itertools.product(READOUTS, PATHS))
ENCODER, DECODER = ("encoder", "quant_conv"), ("decoder", "post_quant_conv")


@pytest.fixture
def joint(smoke_settings, tiny_networks, random_images):
    """joint(**settings) -> (trainer with an AR that says something, batch, teacher's features)."""

    def build(run="gear-l", **changes):
        settings = smoke_settings(run, **changes)
        trainer = tiny_networks.trainer("joint", settings)
        torch.nn.init.normal_(trainer.ar_update.ar.head.weight, 0.0, 0.3)
        batch = random_images(settings).batch(0)
        return trainer, batch, trainer.teacher(batch.images)

    return build


def switches(readout_, losses, path):
    return {
        "joint.readout": readout_,
        "joint.tokenizer_losses": list(losses),
        "joint.ntp_path": path,
    }


def guide(trainer, batch, target):
    """(loss, metrics, Quantized) of the guidance as `step` calls it."""
    with optim.frozen(trainer.ar_update.ar, trainer.ar_update.projector):
        quantized = trainer.tokenizer.quantizer(trainer.tokenizer.encode(batch.images))
        return *trainer.guidance(quantized, batch, target), quantized


def touched(module):
    """Names of the first-level parts that hold a gradient that is not zero."""
    named = module.named_parameters()
    return {n.split(".")[0] for n, p in named if p.grad is not None and p.grad.any()}


# where the guidance goes


@pytest.mark.parametrize("kind, losses, path", list(itertools.product(READOUTS, LOSSES, PATHS)))
def test_guidance_reaches_encoder_and_codebook_and_nothing_else(joint, kind, losses, path):
    trainer, batch, target = joint(**switches(kind, losses, path))
    loss, metrics, _ = guide(trainer, batch, target)
    loss.backward()
    assert touched(trainer.tokenizer) == {*ENCODER, "quantizer"}
    for module in (trainer.ar_update.ar, trainer.ar_update.projector, trainer.discriminator):
        assert all(p.grad is None and p.requires_grad for p in module.parameters())
    for part in DECODER:
        assert all(p.grad is None for p in getattr(trainer.tokenizer, part).parameters())
    assert ("ntp_tokenizer" in metrics) == ("ntp" in losses) and "align_tokenizer" in metrics


MAGVIT2 = {"tokenizer.network": "magvit2", "tokenizer.z_channels": 4}
QUANTIZERS = [("gear-l", {}), ("gear-l-lfq", {}), ("gear-l-lfq", MAGVIT2), ("gear-l-ibq", {})]


def with_gradient(module):
    """Names of the parameters that hold a gradient that is not zero."""
    return {n for n, p in module.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("run, changes", QUANTIZERS)
def test_alignment_reaches_every_parameter_of_encoder_and_codebook(joint, run, changes):
    trainer, batch, target = joint(run, **changes)
    tokenizer = trainer.tokenizer
    guide(trainer, batch, target)[0].backward()
    wanted = {n for n, _ in tokenizer.named_parameters() if not n.startswith(DECODER)}
    # a constant added to all keys changes no attention
    assert wanted - with_gradient(tokenizer) <= {n for n in wanted if n.endswith(".k.bias")}
    assert {n for n, p in tokenizer.named_parameters() if p.grad is not None} == wanted
    assert any(n.startswith("encoder.") for n in wanted)
    assert ("quantizer.codebook" in wanted) == (run != "gear-l-lfq")
    assert ("quant_conv.weight" in wanted) == (not changes)
    for module in (trainer.ar_update.ar, trainer.ar_update.projector, trainer.discriminator):
        assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("run, changes", QUANTIZERS)
def test_alignment_reaches_the_tokenizer_through_the_scores_alone(joint, run, changes):
    trainer, batch, target = joint(run, **changes)
    update = trainer.ar_update
    with optim.frozen(update.ar, update.projector):
        quantized = trainer.tokenizer.quantizer(trainer.tokenizer.encode(batch.images))
        scores = quantized.assignment.scores()
        loss, _ = trainer.guidance(quantized, batch, target)
        features, codes = quantized.assignment.features_BND, quantized.assignment.codes_KD
        constant = dataclasses.replace(
            quantized.assignment, features_BND=features.detach(), codes_KD=codes.detach()
        )
        detached, _ = trainer.guidance(quantized._replace(assignment=constant), batch, target)
        alone, _ = trainer.guidance(
            quantized._replace(code_BND=None, indices_BN=None, losses=None), batch, target
        )
    assert loss.requires_grad and not detached.requires_grad
    assert loss.item() == detached.item() == alone.item()
    through = torch.autograd.grad(loss, scores, retain_graph=True)[0]
    names, parameters = zip(*trainer.tokenizer.named_parameters(), strict=True)
    options = {"retain_graph": True, "allow_unused": True}
    whole = torch.autograd.grad(loss, parameters, **options)
    chained = torch.autograd.grad(scores, parameters, through, **options)
    for name, found, expected in zip(names, whole, chained, strict=True):
        assert (found is None) == (expected is None) == name.startswith(DECODER)
        assert found is None or torch.equal(found, expected)


@pytest.mark.parametrize("kind, path", CELLS)
def test_without_losses_there_is_no_guidance(joint, kind, path):
    trainer, batch, target = joint(**switches(kind, (), path))
    trainer.ar_update.ar.register_forward_hook(lambda *_: pytest.fail("the AR was run"))
    loss, metrics, _ = guide(trainer, batch, target)
    assert loss.item() == 0 and not loss.requires_grad and metrics == {}


# how much


@pytest.mark.parametrize("kind, path", CELLS)
def test_each_path_of_ntp_is_its_own_derivative(joint, kind, path):
    trainer, batch, target = joint(**switches(kind, ("ntp",), path))
    ar, tau = trainer.ar_update.ar, trainer.settings.joint.temperature
    loss, _, quantized = guide(trainer, batch, target)
    found = torch.autograd.grad(loss, quantized.assignment.scores())[0]

    scores = quantized.assignment.scores().detach().requires_grad_()
    p = (scores / tau).softmax(-1)
    hard = torch.nn.functional.one_hot(scores.argmax(-1), 16).float()
    s = p if kind == "soft" else hard + p - p.detach()

    def ntp(of_input, of_target):
        logits, _ = ar(of_input[:, :-1] @ ar.embedding.weight, ar.condition(batch.labels))
        return -(of_target * logits.log_softmax(-1)).sum(-1).mean()

    parts = {
        "input": torch.autograd.grad(ntp(s, s.detach()), scores, retain_graph=True)[0],
        "target": torch.autograd.grad(ntp(s.detach(), s), scores)[0],
    }
    parts["both"] = parts["input"] + parts["target"]
    assert loss.item() == pytest.approx(ntp(s, s).item(), rel=1e-5)
    torch.testing.assert_close(found, parts[path], rtol=1e-4, atol=1e-7)
    assert min(parts[p].abs().max() for p in ("input", "target")) > 1e-5
    # the last token is read by nothing: it is only ever a target
    assert bool(found[:, -1].any()) == (path != "input")


@pytest.mark.parametrize("kind", READOUTS)
@pytest.mark.parametrize("changes, weight", [({}, 0.5), ({"align.tokenizer_weight": 3.0}, 3.0)])
def test_guidance_is_lambda_times_the_alignment_of_the_tap(joint, kind, changes, weight):
    trainer, batch, target = joint(**switches(kind, ("align",), "both"), **changes)
    loss, metrics, quantized = guide(trainer, batch, target)
    ar, layer = trainer.ar_update.ar, trainer.settings.align.layer
    s = quantized.assignment.weights(0.1, kind == "straight_through")
    _, tap = ar((s @ ar.embedding.weight)[:, :-1], ar.condition(batch.labels), tap=layer)
    expected = alignment_loss(trainer.ar_update.projector(tap), target)
    assert tap.shape[1] == target.shape[1] == 16  # a state for every patch
    torch.testing.assert_close(metrics["align_tokenizer"], expected)
    torch.testing.assert_close(loss, weight * expected)


def test_both_losses_are_added(joint):
    trainer, batch, target = joint(**switches("straight_through", ("align", "ntp"), "both"))
    loss, metrics, _ = guide(trainer, batch, target)
    expected = 0.5 * metrics["align_tokenizer"] + metrics["ntp_tokenizer"]
    torch.testing.assert_close(loss, expected)


def test_the_gradient_is_that_of_the_function(joint, monkeypatch):
    """Autograd in float32 against central differences in float64, for each part and direction."""
    trainer, batch, target = joint(**switches("soft", ("align", "ntp"), "both"))
    loss, _, _ = guide(trainer, batch, target)
    names = dict(trainer.tokenizer.named_parameters())
    gradients = torch.autograd.grad(loss, names.values(), allow_unused=True)
    gradients = dict(zip(names, gradients, strict=True))

    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (trainer.tokenizer, trainer.ar_update.ar, trainer.ar_update.projector):
        module.double()
    batch, target = batch._replace(images=batch.images.double()), target.double()
    for part in (*ENCODER, "quantizer"):
        directions = {n: torch.randn_like(p) for n, p in names.items() if n.startswith(part + ".")}
        values = []
        for step in (1e-6, -2e-6):
            for name, direction in directions.items():
                names[name].data += step * direction
            with torch.no_grad():
                values.append(guide(trainer, batch, target)[0].item())
        for name, direction in directions.items():
            names[name].data += 1e-6 * direction
        expected = sum((gradients[n] * d).sum().item() for n, d in directions.items())
        assert abs(expected) > 1e-4
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(expected, rel=2e-3)


# the whole step


def test_no_gradient_of_the_step_before_lies_beside_the_tokenizers(joint):
    trainer, batch, _ = joint()
    trainer.step(batch, 0)
    parameters = [p for m in trainer.modules.values() for p in m.parameters()]
    assert any(p.grad is not None for p in parameters)
    there = []
    trainer.teacher.register_forward_pre_hook(
        lambda *_: there.extend(p for p in parameters if p.grad is not None)
    )
    trainer.step(batch, 1)
    assert not there


@pytest.mark.parametrize("size", [0, 4])
def test_a_step_copies_all_that_it_reads_before_its_first_network(joint, monkeypatch, size):
    """A copy between two updates would wait in the queue, and the host with it."""
    trainer, batch, _ = joint(**{"runtime.micro_batch": size})
    order, copy_of = [], memory.to_device

    def copied(*given):
        order.append("copy")
        return copy_of(*given)

    for module in (memory, ar_train):
        monkeypatch.setattr(module, "to_device", copied)
    for network in (trainer.teacher, trainer.tokenizer, trainer.ar_update.ar):
        network.register_forward_pre_hook(lambda *_: order.append("network"))
    trainer.step(batch, 3)
    copies = order.count("copy")
    parts = len(batch.images) // size if size else 1
    assert copies == 2 + parts and order[:copies] == ["copy"] * copies


def test_guidance_runs_without_dropout_and_the_update_with_it(joint):
    dropped = {"ar.dropout": 0.5, "ar.token_dropout": 0.5, "ar.label_dropout": 1.0}
    trainer, batch, target = joint(**dropped)
    ar = trainer.ar_update.ar
    ar.train()
    values = [guide(trainer, batch, target)[0] for _ in range(2)]
    assert torch.equal(*values)
    calls = []

    def conditions(prefix):
        """Which rows of the class table a prefix has."""
        same = prefix.vectors_BPD == ar.condition.weight
        return same.all(-1).nonzero()[:, 1].tolist()

    states = ar.states

    def noted(u, prefix, *arguments, **options):
        learns = {p.requires_grad for p in ar.parameters()}
        calls.append((ar.training, learns, conditions(prefix)))
        return states(u, prefix, *arguments, **options)

    ar.states = noted
    trainer.step(batch, 3)
    assert calls == [(False, {False}, batch.labels.tolist()), (True, {True}, [10] * 8)]


def test_statistics_are_of_all_tokens_at_first_and_of_a_batch_of_tokens_a_window(joint):
    trainer, batch, _ = joint(**{"runtime.log_every": 5})
    quantized = trainer.tokenizer(batch.images)[1]
    p = (quantized.assignment.scores().flatten(0, 1) / 0.1).softmax(-1).max(-1).values
    count = len(p)
    measured = [list(range(count))[trainer.measured(n, count)] for n in range(10)]
    window = sorted(itertools.chain(*measured[5:]))
    assert measured[0] == window == list(range(count))
    assert min(map(len, measured)) >= 25 and trainer.measured(9, 2) == slice(1, None, 2)
    before = copy.deepcopy(trainer.state())
    for number in (0, 7):
        trainer.restore(copy.deepcopy(before))
        found = trainer.step(batch, number)["top1"].item()
        assert found == pytest.approx(p[measured[number]].mean().item(), rel=1e-6)


@pytest.mark.parametrize("kept", ["tokenizer", "discriminator", "ar"])
def test_each_optimizer_moves_its_own_part(joint, kept):
    rates = {f"optim.lr_{k}": 1e-3 * (k == kept) for k in ("tokenizer", "discriminator", "ar")}
    everything = switches("straight_through", ("align", "ntp"), "both")
    trainer, batch, _ = joint(**rates, **everything)
    before = copy.deepcopy(trainer.modules)
    trainer.step(batch, 5)
    moved = {
        name
        for name, module in trainer.modules.items()
        for p, q in zip(module.parameters(), before[name].parameters(), strict=True)
        if not torch.equal(p, q)
    }
    assert moved == ({"ar", "projector"} if kept == "ar" else {kept})
    assert all(p.requires_grad for m in trainer.modules.values() for p in m.parameters())


@pytest.mark.parametrize("run, changes", QUANTIZERS)
def test_the_losses_of_the_ar_reach_no_tokenizer(joint, run, changes):
    trainer, batch, target = joint(run, **changes)
    update = trainer.ar_update
    _, quantized = trainer.tokenizer(batch.images)
    assert quantized.assignment.scores().requires_grad and not quantized.indices_BN.requires_grad
    ntp, align = update.losses(quantized.indices_BN, update.ar.condition(batch.labels), target)
    (ntp + align).backward()
    assert all(p.grad is None for p in trainer.tokenizer.parameters())
    assert with_gradient(update.ar) == {n for n, _ in update.ar.named_parameters()}
    assert with_gradient(update.projector) == {n for n, _ in update.projector.named_parameters()}
    trainer.optimizers["ar"].zero_grad()
    metrics = update.update([quantized.indices_BN], [batch], [target], [update.drawn(batch)], 3)
    assert set(metrics) == {"ntp", "align_ar", "grad_ar"}
    assert all(p.grad is None for p in trainer.tokenizer.parameters())


def test_without_guidance_the_tokenizer_is_trained_as_alone(joint):
    trainer, batch, _ = joint("gear-l-control")
    alone = TokenizerTrainer(trainer.settings)
    alone.restore(copy.deepcopy(trainer.state()))
    for number in range(3):
        trainer.step(batch, number)
        alone.step(batch, number)
    for name in alone.modules:
        found, expected = trainer.modules[name].state_dict(), alone.modules[name].state_dict()
        assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_joint_training_starts_from_the_live_weights(
    joint, tiny_networks, smoke_settings, tmp_path
):
    source, batch, _ = joint("gear-l-control")
    for number in range(3):
        source.step(batch, number)
    checkpoint.save_weights(tmp_path / "weights.safetensors", source.exports())
    files.write_json(tmp_path / "run.json", {"settings": dataclasses.asdict(source.settings)})
    trainer = type(source)(smoke_settings(), tiny_networks.teacher(smoke_settings()), str(tmp_path))
    for name in ("tokenizer", "discriminator"):
        for found, expected in zip(
            trainer.modules[name].parameters(), source.modules[name].parameters(), strict=True
        ):
            assert torch.equal(found, expected) and found.requires_grad
    averaged, live = trainer.average.module.parameters(), trainer.tokenizer.parameters()
    pairs = list(zip(averaged, live, source.average.module.parameters(), strict=True))
    assert all(torch.equal(a, s) for a, _, s in pairs)
    assert not all(torch.equal(a, b) for a, b, _ in pairs)
    optimized = trainer.optimizers["tokenizer"].param_groups[0]["params"]
    assert [id(p) for p in optimized] == [id(p) for p in trainer.tokenizer.parameters()]
