"""The three quantizers, against brute force and cases worked by hand."""

import pytest
import torch
import torch.nn.functional as F

from gear.tokenizer.autoencoder import QUANTIZERS

approx = pytest.approx
KINDS = sorted(QUANTIZERS)


@pytest.fixture
def quantizer(smoke_settings):
    return lambda kind: QUANTIZERS[kind](smoke_settings(kind).tokenizer)


def features(quantizer, batch=2, tokens=50, scale=3.0):
    width = quantizer.lookup(torch.zeros(1, dtype=torch.long)).shape[-1]
    return (torch.randn(batch, tokens, width) * scale).requires_grad_()


# scores and codes


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_score_is_the_nearest_code(quantizer, kind):
    q = quantizer(kind)
    z = features(q).detach()
    codes = q.lookup(torch.arange(16))
    if kind == "ibq":  # nearest by inner product
        distance = -(z[:, :, None] * codes).sum(-1)
    else:
        place = z / z.norm(dim=-1, keepdim=True) if kind == "vq" else z
        distance = (place[:, :, None] - codes).square().sum(-1)
    nearest = distance.argmin(-1)
    assert len(nearest.unique()) > 5
    torch.testing.assert_close(q.assignment(z).hard(), nearest)
    found = q(z)
    torch.testing.assert_close(found.indices_BN, nearest)
    torch.testing.assert_close(found.code_BND, codes[nearest])
    torch.testing.assert_close(found.assignment.scores(), q.assignment(z).scores(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_is_assigned_to_itself(quantizer, kind):
    q = quantizer(kind)
    if kind == "ibq":  # holds where all codes are equally long
        q.codebook.data = F.normalize(q.codebook.data, dim=-1)
    index = torch.arange(16)[None]
    assert torch.equal(q.assignment(q.lookup(index)).hard(), index)
    assert torch.equal(q(q.lookup(index)).indices_BN, index)


def test_vq_scores_are_minus_squared_distances_on_the_sphere(quantizer):
    q = quantizer("vq")
    z = features(q, tokens=400).detach()
    scores = q.assignment(z).scores()
    unit = F.normalize(z.double(), dim=-1)
    code = F.normalize(q.codebook.double(), dim=-1)
    expected = -(unit[:, :, None] - code).square().sum(-1)
    torch.testing.assert_close(scores.double(), expected, rtol=0, atol=1e-6)
    assert -4 - 1e-6 <= scores.min() < -3 and -0.2 < scores.max() <= 1e-6
    torch.testing.assert_close(q.assignment(5 * z).scores(), scores)  # direction alone counts
    torch.testing.assert_close(q.lookup(torch.arange(16)).norm(dim=-1), torch.ones(16))


def test_lfq_channel_i_is_bit_i_of_the_index(quantizer):
    q = quantizer("lfq")
    codes = q.lookup(torch.arange(16))
    for index in range(16):
        assert codes[index].tolist() == [1.0 if index >> i & 1 else -1.0 for i in range(4)]
    z = torch.tensor([[[0.2, -3.0, 1.0, -0.1], [0.0, 0.0, 0.0, 2.0]]])
    assert q(z).indices_BN.tolist() == [[0b0101, 0b1000]]  # 0 counts as -1
    assert q.assignment(z).hard().tolist() == [[0b0101, 0b1000]]
    assert q.assignment(z).scores()[0, 0, 0b0101].item() == approx(2 * 4.3)
    assert not list(q.parameters()) and not q.state_dict()


def test_lfq_needs_two_to_the_width_codes(smoke_settings):
    with pytest.raises(ValueError) as error:
        QUANTIZERS["lfq"](smoke_settings("lfq", **{"tokenizer.codebook_size": 32}).tokenizer)
    assert str(error.value) == (
        "tokenizer.codebook_size is 32, but LFQ with tokenizer.code_dim 4 has 16 codes; set it so."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_float32_under_autocast(quantizer, kind):
    q = quantizer(kind)
    z = features(q).detach()
    scores, plain, rounded = q.assignment(z).scores(), q(z), q(z.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert (z @ z.mT).dtype == torch.bfloat16  # the switch is on
        inside, found = q.assignment(z).scores(), q(z)
        assert q.assignment(z.bfloat16()).scores().dtype == torch.float32
        low = q(z.bfloat16())
    assert torch.equal(inside, scores)
    for result, expected in ((found, plain), (low, rounded)):
        pairs = list(zip(result[:2], expected[:2], strict=True))  # code and indices
        pairs.append([each.assignment.scores() for each in (result, expected)])
        for value, wanted in pairs:
            assert value.dtype == wanted.dtype and torch.equal(value, wanted)
        assert result.losses.keys() == expected.losses.keys()
        for value, wanted in zip(result.losses.values(), expected.losses.values(), strict=True):
            assert value.dtype == torch.float32 and torch.equal(value, wanted)


# gradients of the quantizers


@pytest.mark.parametrize("kind", ["vq", "lfq"])
def test_the_gradient_passes_straight_through(quantizer, kind):
    q = quantizer(kind)
    z = features(q)
    weight = torch.randn_like(z)
    (q(z).code_BND * weight).sum().backward()
    twin = z.detach().clone().requires_grad_()
    ((F.normalize(twin, dim=-1) if kind == "vq" else twin) * weight).sum().backward()
    torch.testing.assert_close(z.grad, twin.grad)
    assert all(p.grad is None for p in q.parameters())


def test_ibq_passes_the_gradient_of_the_softmax_to_every_code(quantizer):
    q = quantizer("ibq")
    z = features(q, scale=0.3)
    weight = torch.randn_like(z)
    (q(z).code_BND * weight).sum().backward()
    twin = z.detach().clone().requires_grad_()
    code = q.codebook.detach().clone().requires_grad_()
    p = (twin @ code.T).softmax(-1)
    one_hot = F.one_hot(p.argmax(-1), 16).float()
    # through p with the codes as values; to the codes as values by the one-hot
    ((p @ code.detach() + one_hot @ code - one_hot @ code.detach()) * weight).sum().backward()
    torch.testing.assert_close(z.grad, twin.grad)
    torch.testing.assert_close(q.codebook.grad, code.grad, rtol=1e-4, atol=1e-5)
    assert (q.codebook.grad.abs().sum(-1) > 0).all()


# the quantizers' own terms: who is pulled, and how strongly


def pulls(q, z):
    """(gradient of the codebook term at z, at the codes, of the commitment term at z, at them)."""
    losses, inputs = q(z).losses, [z, *q.parameters()]
    return [
        g
        for name in ("codebook", "commitment")
        for g in torch.autograd.grad(losses[name], inputs, retain_graph=True, allow_unused=True)
    ]


def test_vq_pulls_the_codes_by_one_term_and_the_features_by_the_other(quantizer):
    q = quantizer("vq")
    at_z, at_codes, commitment_at_z, commitment_at_codes = pulls(q, features(q))
    assert at_z is None and commitment_at_codes is None
    assert at_codes.any() and commitment_at_z.any()


def test_lfq_commits_the_features_to_their_signs(quantizer):
    q = quantizer("lfq")
    z = features(q)
    found = torch.autograd.grad(q(z).losses["commitment"], z)[0]
    torch.testing.assert_close(found, 2 * (z - z.sign()).detach() / z.numel())


def test_ibq_pulls_the_features_with_weight_one_and_the_codes_by_the_commitment(quantizer):
    q = quantizer("ibq")
    z = features(q, scale=0.3)
    at_z, _, commitment_at_z, at_codes = pulls(q, z)
    twin, table = z.detach().clone().requires_grad_(), q.codebook.detach()
    scores = twin @ table.T
    p, indices = scores.softmax(-1), scores.argmax(-1)
    one_hot = F.one_hot(indices, 16).float()
    soft = (one_hot + p - p.detach()) @ table
    expected = (soft - twin).square().mean() + (table[indices] - twin).square().mean()
    torch.testing.assert_close(at_z, torch.autograd.grad(expected, twin)[0])
    assert commitment_at_z is None
    pulled = torch.zeros_like(table).index_add_(
        0, indices.flatten(), 2 * (table[indices] - z.detach()).flatten(0, 1) / z.numel()
    )
    torch.testing.assert_close(at_codes, pulled)
