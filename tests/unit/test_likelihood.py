"""gear likelihood, on a tiny AR with random weights."""

import json

import numpy as np
import pytest
import torch
from commands import likelihood, reconstruct, refused, sample, write

approx = pytest.approx


@pytest.fixture
def tokens():
    return np.random.default_rng(3).integers(0, 16, (7, 16)).astype(np.int32)


def loss_by_hand(ar, tokens, labels):
    """- mean log p(token), from one forward pass per image and a softmax written out."""
    each = []
    for row, label in zip(torch.from_numpy(tokens).long(), labels, strict=True):
        with torch.no_grad():
            logits = ar(ar.embedding(row[None, :-1]), ar.condition(torch.tensor([label])))[0][0]
        p = logits.double().exp() / logits.double().exp().sum(-1, keepdim=True)
        each += [-float(p[position, token].log()) for position, token in enumerate(row)]
    return np.mean(each)


def test_likelihood_is_the_cross_entropy(home, tokens, capsys):
    labels = np.arange(7) % 3
    path = write(home.path / "t.npz", tokens=tokens, labels=labels)
    likelihood(home, path, json=True)
    found = json.loads(capsys.readouterr().out)
    expected = loss_by_hand(home.ar, tokens, labels)
    assert found["ntp"] == approx(expected, rel=1e-6)
    assert found["perplexity"] == approx(np.exp(expected), rel=1e-6)
    assert (found["images"], found["tokens"]) == (7, 112)
    likelihood(home, path)
    said = (
        f"{expected:.4f} nats per token (perplexity {np.exp(expected):.2f}; 7 images of 16 tokens)"
    )
    assert capsys.readouterr().out == said + "\n"


def test_one_class_for_all(home, tokens, capsys):
    path = write(home.path / "t.npz", tokens=tokens, labels=np.zeros(7, int))
    likelihood(home, path, json=True, **{"class": 4})
    found = json.loads(capsys.readouterr().out)["ntp"]
    assert found == approx(loss_by_hand(home.ar, tokens, [4] * 7), rel=1e-6)
    assert found != approx(loss_by_hand(home.ar, tokens, [0] * 7), rel=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_the_batch_of_a_likelihood_does_not_matter(home, tokens, batch):
    from gear.model import mean_loss
    from gear.sampling.conditions import Labels

    labels = np.arange(7)
    conditions = Labels(home.ar, labels)
    found = mean_loss(home.ar, torch.from_numpy(tokens).long(), conditions, batch)
    assert found == approx(loss_by_hand(home.ar, tokens, labels), rel=1e-6)


def test_what_sample_draws_has_a_likelihood(home, capsys):
    """Drawn with little noise, tokens are likelier than random ones."""
    sample(home, tokens=home.path / "t.npz", temperature=0.3, guidance=1)
    likelihood(home, home.path / "t.npz", json=True)
    reconstruct(home, tokens=home.path / "r.npz", tokenizer=home.path / "joint")
    likelihood(home, home.path / "r.npz", json=True, **{"class": 1})
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
    likely, random = (json.loads(line)["ntp"] for line in lines)
    assert likely < random
    reconstruct(home, tokens=home.path / "other.npz", output=home.path / "more")
    options = {"checkpoint": home.path / "joint", "tokens": home.path / "other.npz", "class": 1}
    assert "other.npz: its tokens were made by a tokenizer with sha256" in refused(
        "likelihood", **options
    )


def test_likelihood_mistakes(home, tokens):
    p = home.path

    def said(checkpoint="ar", **arrays):
        options = {"class": arrays.pop("label")} if "label" in arrays else {}
        path = write(p / "t.npz", **arrays) if arrays else p / "none.npz"
        return refused("likelihood", checkpoint=p / checkpoint, tokens=path, **options)

    labels = np.zeros(7, int)
    where = f"{p}/t.npz"
    assert said().startswith(f"{p}/none.npz does not exist; name an .npz")
    assert said(labels=labels) == f"{where} has no array 'tokens'; draw the tokens again."
    assert (
        said(tokens=tokens)
        == f"{where} has no array 'labels'; give one class for all with --class."
    )
    wide = np.zeros((7, 15), int)
    assert "tokens have shape (7, 15), but the checkpoint's AR reads (images, 16)" in said(
        tokens=wide, labels=labels
    )
    assert "tokens have shape (0, 16)" in said(
        tokens=wide[:0, :0].reshape(0, 16), labels=labels[:0]
    )
    assert "tokens have shape (16,)" in said(tokens=tokens[0], labels=labels)
    large, small = tokens.copy(), tokens.copy()
    large[2, 3], small[2, 3] = 16, -1
    assert "tokens hold 16, but the checkpoint knows 0 to 15" in said(tokens=large, labels=labels)
    assert "tokens hold -1, but the checkpoint knows" in said(tokens=small, labels=labels)
    assert "tokens are float64; they must be whole" in said(tokens=tokens * 1.0, labels=labels)
    assert "labels hold 10, but the checkpoint knows 0 to 9" in said(
        tokens=tokens, labels=labels + 10
    )
    assert "labels have shape (6,) for 7 images" in said(tokens=tokens, labels=labels[:6])
    assert said(tokens=tokens, label=10) == "class 10 is unknown; the checkpoint has 0 to 9."
    assert "holds no weights 'ar'; name a joint" in said("tokenizer", tokens=tokens, labels=labels)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn", None])
def test_a_torn_token_file_is_named(home, tokens, content):
    path = write(home.path / "t.npz", tokens=tokens, labels=np.zeros(7, int))
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=path)
    assert said.startswith(f"{path} is no complete .npz file (")


def test_an_array_alone_is_no_token_file(home, tokens):
    np.save(home.path / "t.npy", tokens)
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=home.path / "t.npy")
    assert "is no complete .npz file" in said


def test_the_old_name_of_likelihood_says_the_new_one(home, tokens):
    said = refused("score", checkpoint=home.path / "ar", tokens=home.path / "t.npz")
    assert said == "`gear score` is now `gear likelihood`; write that."
