"""What `gear plan` counts of text to image: the AR with its caption, and the text encoder."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gear import config
from gear.plan import costs, pieces

STANDIN = {"kind": "standin", "layers": 2, "heads": 4, "vocabulary": 349}
QWEN3 = {"kind": "pretrained", "label": "Qwen3-1.7B"}


def test_the_ar_of_the_paper_by_hand():
    """Two FLOPs for each multiply-add. Text and image take the same, but for the head."""
    P, N, S, C, D, hidden, K = 300, 256, 555, 2048, 1440, 3840, 16384
    found = pieces.text_ar(
        config.AR(layers=36, dim=D, heads=20), K, config.Text(slots=P, width=C), 16, 12
    )
    assert found.parameters == 1_047_659_040
    caption = P * (C * D + D * D)
    block = S * (4 * D * D + 3 * D * hidden) + 2 * S * S * D
    assert found.flops["ar"] == 2 * (caption + 36 * block + N * D * K)
    assert found.flops["ar_to_tap"] == 2 * (caption + 12 * block)


def test_the_encoder_of_the_paper():
    found = costs.text_encoder(QWEN3, config.Text())
    assert found.parameters == 1_720_574_976  # 311,164,928 of them in the table of tokens
    assert found.flops["text_encoder"] == pytest.approx(300 * 2 * 1.4094e9, rel=0.03)
    with pytest.raises(ValueError, match="size of Qwen3-1.7B with text.width 512 is not known"):
        costs.text_encoder(QWEN3, config.Text(width=512))


@pytest.mark.slow  # 5 s to import transformers
@pytest.mark.parametrize("slots", [5, 64])
def test_the_formula_is_what_transformers_runs(slots):
    from transformers import Qwen3Config, Qwen3Model

    found = costs.text_encoder(STANDIN, config.Text(width=64, slots=slots))
    shape = {"vocab_size": 349, "hidden_size": 64, "intermediate_size": 192, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    model = Qwen3Model(Qwen3Config(**shape, **heads)).eval()
    assert found.parameters == sum(p.numel() for p in model.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, slots, dtype=torch.long))
    assert counter.get_total_flops() == found.flops["text_encoder"]


def test_a_run_that_reads_text_pays_for_its_encoder(smoke, smoke_settings):
    changes = {"data.source": "shards", "text.slots": 12, "text.width": 64}
    study = SimpleNamespace(spec=smoke.spec | {"text_encoder": STANDIN})

    def cost(**changes):
        settings = smoke_settings("llamagen-repa-l", **changes)
        return costs.cost(SimpleNamespace(settings=settings, stage="ar"), study)

    text, label = cost(**changes), cost()
    assert text["parts"].keys() - label["parts"].keys() == {"text"}
    encoder = costs.text_encoder(STANDIN, config.Text(slots=12, width=64))
    assert text["parts"]["text"] == encoder.flops["text_encoder"] > 0
    assert text["made_of"]["text"] == "1 x text_encoder"
    assert text["parameters"]["frozen"]["text_encoder"] == encoder.parameters
    assert text["parameters"]["ar"] > label["parameters"]["ar"]
    assert text["parts"]["ar"] > label["parts"]["ar"]  # 12 slots instead of one
