"""DINOv2 ViT-L and CLIP ViT-B/32 features against plain computations on the file's own keys, and
the CLIP score by hand. Smaller networks of the same layouts, with random weights."""

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms as tv
from vits import (
    CLIP,
    DEPTH,
    IMAGENET,
    SHAPE,
    dino_block,
    dinov2,
    layer_norm,
    patch_tokens,
    random_state,
    write,
)

from gear.features import clip as features_clip
from gear.features import dinov2 as dino
from gear.files.hashes import sha256
from gear.metrics import clip_score


@pytest.fixture(scope="module")
def pictures(photo):
    """uint8 (4, 3, 64, 64)"""
    x = np.stack([np.asarray(photo(64, 64, seed)) for seed in range(4)])
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def pil(pictures):
    return [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in pictures]


def plain_cls(state, pictures):
    """As GPIC's evaluation reads images, and as facebook's network resamples its positions."""
    prepare = [tv.Resize((224, 224), tv.InterpolationMode.BICUBIC), tv.ToTensor()]
    prepare = tv.Compose([*prepare, tv.Normalize(*IMAGENET)])
    x = torch.stack([prepare(picture) for picture in pil(pictures)])
    x = patch_tokens(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1)
    first, grid = state["pos_embed"][:, :1], state["pos_embed"][:, 1:].mT.unflatten(-1, (37, 37))
    grid = F.interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    x = x + torch.cat([first, grid.flatten(2).mT], 1)
    for i in range(DEPTH):
        x = dino_block(x, state, f"blocks.{i}", 1e-6)
    return layer_norm(x, state, "norm", 1e-6)[:, 0]


@pytest.mark.parametrize("name", ["facebook.pth", "timm.safetensors"])
def test_dinov2s_cls_token(tmp_path, pictures, name, capsys):
    state = random_state(dinov2(facebook=name == "facebook.pth"))
    path = write(tmp_path / name, state)
    network, found = dino.load(path, shape=SHAPE)
    assert found == sha256(path)
    assert f"warning: {path} has sha256 {found}, and no publisher" in capsys.readouterr().err
    dino.load(path, found, shape=SHAPE)
    assert "warning" not in capsys.readouterr().err
    wanted = plain_cls(state, pictures)
    pooled = dino.features(network, pictures).pooled_ND
    assert wanted.std(0).min() > 1e-3  # pictures differ
    np.testing.assert_allclose(pooled, wanted, rtol=1e-4, atol=1e-5)
    parts = [dino.features(network, x).pooled_ND for x in pictures.split(3)]
    np.testing.assert_allclose(np.concatenate(parts), pooled, rtol=1e-4, atol=1e-5)


def test_positions_of_the_weights_own_size_stay():
    positions = torch.rand(1, 1 + 37**2, 8)
    assert torch.equal(dino.resampled(positions, 37), positions)


def test_the_large_network_has_its_published_size():
    with torch.device("meta"):
        encoder = dino.DINOv2L.build(518, **dino.DINOv2L.SHAPE)
    block = 12 * 1024**2 + 13 * 1024 + 2 * 1024  # with both layer scales
    rest = 3 * 14**2 * 1024 + 1024 * (1 + 1370 + 1 + 2)
    assert sum(p.numel() for p in encoder.parameters()) == 24 * block + rest


def test_a_file_of_dinov2_b_is_refused(tmp_path):
    path = write(tmp_path / "small.pth", random_state(dinov2()))
    with pytest.raises(ValueError, match=r"has shape .* \(wanted: 1x1x1024\)"):
        dino.load(path)
    with pytest.raises(ValueError, match="none.pth is missing; put DINOv2's weights, facebook's"):
        dino.load(tmp_path / "none.pth")


# ---- CLIP ----------------------------------------------------------------------------------------

TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
CAPTIONS = ["a cat", "two dogs in the snow", "a red car", "a cat"]


@pytest.fixture
def clip(tmp_path):
    torch.manual_seed(3)
    network = open_clip.CLIP(**TINY)
    torch.save(network.state_dict(), tmp_path / "clip.pt")
    return features_clip.Clip(tmp_path / "clip.pt", shape=TINY), network.eval()


def test_clip_score_is_the_mean_cosine(clip, pictures):
    found, network = clip
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in CLIP)
    with torch.no_grad():
        image = network.encode_image((pictures / 255 - mean) / std)  # 64 pixels: nothing to resize
        text = network.encode_text(open_clip.get_tokenizer("ViT-B-32")(CAPTIONS))
        wanted = 100 * F.cosine_similarity(image, text).mean().item()
    for batch in (1, 3, 4):
        score = clip_score.clip_score(found, pictures.split(batch), CAPTIONS)
        assert score == pytest.approx(wanted, rel=1e-5)
    other = clip_score.clip_score(found, pictures.split(4), CAPTIONS[1:] + CAPTIONS[:1])
    assert other != pytest.approx(wanted, rel=1e-3)
    assert found.sha256 and not any(p.requires_grad for p in found.network.parameters())


def test_clip_reads_images_as_open_clip_does(clip, photo):
    found, network = clip
    wide = photo(100, 80, 1)
    prepare = open_clip.image_transform(64, is_train=False)
    with torch.no_grad():
        wanted = F.normalize(network.encode_image(prepare(wide)[None]), dim=-1)
    pixels = torch.from_numpy(np.array(wide)).permute(2, 0, 1)[None]
    torch.testing.assert_close(found.images(pixels).float(), wanted, rtol=1e-4, atol=1e-5)


def test_the_architecture_is_openais():
    shape = open_clip.get_model_config(features_clip.ARCHITECTURE)
    assert shape["quick_gelu"] and shape["vision_cfg"]["patch_size"] == 32


def test_captions(tmp_path):
    def said(text, count=2, names=("a.png", "b.png"), file="c.txt"):
        (tmp_path / file).write_text(text)
        return clip_score.read_captions(tmp_path / file, count, names)

    assert said("one\ntwo\n") == ["one", "two"]
    assert said('{"b.png": "two", "a.png": "one"}', file="c.json") == ["one", "two"]
    for arguments, message in (
        ({"text": "one"}, "c.txt holds 1 captions for 2 images; give one for each"),
        ({"text": '{"a.png": "x"}', "file": "c.json"}, "c.json has no caption for b.png; add it"),
        ({"text": "{}", "file": "c.json", "names": None}, "an archive's images have none; write"),
        ({"text": "{", "file": "c.json"}, "c.json is no JSON"),
    ):
        with pytest.raises(ValueError, match=message):
            said(**arguments)
    with pytest.raises(ValueError, match="none.txt is missing; name the file of captions"):
        clip_score.read_captions(tmp_path / "none.txt", 1)


def test_a_file_of_another_clip_is_refused(tmp_path, clip):
    with pytest.raises(ValueError, match="clip.pt, the file: '.*' has shape"):
        features_clip.Clip(tmp_path / "clip.pt", shape=TINY | {"embed_dim": 8})


def test_clip_without_a_hash_is_said_to_be_unchecked(clip, tmp_path, capsys):
    """Weights of another activation have the same shapes and give another score."""
    found = features_clip.Clip(tmp_path / "clip.pt", shape=TINY)
    said = capsys.readouterr().err
    assert f"has sha256 {found.sha256}, and no publisher's value is known" in said
    assert "weights trained with another activation or on other images" in said
    features_clip.Clip(tmp_path / "clip.pt", found.sha256, shape=TINY)
    assert "warning" not in capsys.readouterr().err
