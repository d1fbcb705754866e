"""The frozen text encoder: captions to features.

The published code pads each caption on the right to `slots` tokens. The last hidden states are the
features, also those of padding. Of the padded slots the AR reads only the last one. The state of
this slot attends to the caption's tokens, but not to itself or to other padding. Here a caption of
n tokens therefore takes n + 1 slots: its tokens, and one pad token with the position of the last
slot. The features are the same, up to rounding. A caption has no token for its beginning or end,
and no chat template.

The features of the caption "" depend on the attention of a row that may attend to nothing. With
torch's scaled_dot_product_attention this attention is 0. With transformers' eager path it is the
mean of all columns. This encoder uses scaled_dot_product_attention.

Shapes: B captions, P slots of the batch (the longest caption's), C width of the features.
"""

import os

import torch
import torch.nn.functional as F

from gear.data.memory import to_device
from gear.files.mistakes import Mistake
from gear.files.reading import reason_of
from gear.runtime.progress import say
from gear.t2i.text_folder import read_folder
from gear.t2i.transformer import Text


class TextEncoder:
    """encoder(captions) -> Text, on the encoder's device, in float32.

    captions: a list of B texts. A caption's features do not depend on the other captions of its
    batch, up to rounding. `sha256`: {file name: sha256} of the weights and the tokenizer; `width`:
    C; `slots`: the most tokens of a caption. A longer caption is cut, and a line says so once."""

    def __init__(self, network, tokenizer, pad, slots, sha256=None):
        """network: of transformers, returns last_hidden_state; tokenizer: tokenizers.Tokenizer;
        pad: number of the pad token."""
        self.network = network.eval().requires_grad_(False)
        self.tokenizer, self.pad, self.slots = tokenizer, pad, slots
        self.width = network.config.hidden_size
        self.sha256 = sha256 or {}
        self._said = False

    @property
    def device(self):
        return self.network.device

    def tokens(self, captions):
        """The token numbers of each caption, a list of at most `slots` each."""
        # JSON can hold half of a surrogate pair, which cannot be encoded
        captions = [caption.encode("utf-8", "replace").decode("utf-8") for caption in captions]
        found = self.tokenizer.encode_batch(captions, add_special_tokens=False)
        longest = max(len(each.ids) for each in found)
        if longest > self.slots and not self._said:
            self._said = True
            say(
                f"a caption has {longest} tokens; this and others are cut to text.slots, "
                f"{self.slots} (said once)"
            )
        return [each.ids[: self.slots] for each in found]

    @torch.no_grad()
    def __call__(self, captions):
        ids = self.tokens(captions)
        counts = torch.tensor([len(each) for each in ids])
        width = min(self.slots, int(counts.max()) + 1)
        ids_BP = torch.full((len(ids), width), self.pad)
        for row, each in zip(ids_BP, ids, strict=True):
            row[: len(each)] = torch.tensor(each, dtype=torch.long)
        slot_P = torch.arange(width)
        visible_BP = slot_P < counts[:, None]
        place_P = slot_P.clone()
        place_P[-1] = self.slots - 1  # where the padded caption would end
        # [query, key]: a caption's tokens that are not later; heads share it
        mask_BPP = (visible_BP[:, None, :] & (slot_P[:, None] >= slot_P)).unsqueeze(1)
        features = self.network(
            input_ids=to_device(ids_BP, self.device),
            attention_mask=to_device(mask_BPP, self.device),
            position_ids=to_device(place_P[None], self.device),
            use_cache=False,
        ).last_hidden_state
        return Text(features.float(), to_device(visible_BP, self.device))


class Alone:
    """encoder(captions) -> Text whose features of a caption are the same numbers in any batch.

    In bfloat16 the rounding of a product depends on its shape. Each caption is therefore encoded
    alone. A caption of the call before is not encoded again."""

    def __init__(self, encoder):
        self.encoder, self.known = encoder, {}

    def __call__(self, captions):
        known = self.known
        self.known = {
            caption: known[caption] if caption in known else self.encoder([caption])
            for caption in dict.fromkeys(captions)
        }
        slots = max(text.visible_BP.shape[1] for text in self.known.values())
        padded = {caption: _padded(text, slots) for caption, text in self.known.items()}
        parts = zip(*(padded[caption] for caption in captions), strict=True)
        return Text(*map(torch.cat, parts))


def _padded(text, slots):
    """The Text in `slots` slots: zeros are put in front of the last slot."""
    features_BPC, visible_BP = text
    spare = slots - visible_BP.shape[1]
    if not spare:
        return text
    zeros_BPC = features_BPC.new_zeros(len(features_BPC), spare, features_BPC.shape[2])
    return Text(
        torch.cat([features_BPC[:, :-1], zeros_BPC, features_BPC[:, -1:]], 1),
        torch.cat([visible_BP[:, :-1], F.pad(visible_BP[:, -1:], (spare, 0))], 1),
    )


def load_encoder(folder, text, precision="fp32", device=None):
    """The TextEncoder of a folder in transformers' form (gear/t2i/text_folder.py).

    text: config.Text; precision: bf16 | fp32, of the weights and the arithmetic.
    Mistake: the folder is absent or incomplete, has no tokenizer or another width, or its weights
    do not fit its config.json."""
    found = read_folder(folder, text)
    tokenizer = read_tokenizer(found)
    pad = tokenizer.token_to_id(found.pad)
    if pad is None or pad >= found.config.get("vocab_size", 0):
        raise Mistake(
            f"{found.path}: the tokenizer does not fit the weights, which have no pad token "
            f"'{found.pad}'; take both from one publisher."
        )
    network = _network(found, torch.bfloat16 if precision == "bf16" else torch.float32)
    encoder = TextEncoder(network.to(device or "cpu"), tokenizer, pad, text.slots, found.sha256())
    if not encoder([""]).features_BPC.isfinite().all():
        raise Mistake(
            f"the text encoder {found.path} gives the empty caption features that are not finite; "
            "use torch 2.5 or later, and weights that are whole."
        )
    return encoder


def read_tokenizer(found):
    """The tokenizers.Tokenizer of a Folder. It neither cuts nor pads. Mistake: it is damaged."""
    # its threads would not survive the fork of a decoding process
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    path = found.path / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise Mistake(f"{path} is no tokenizer ({reason_of(error)}); download it again.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _network(found, dtype):
    """transformers' network with all of the folder's weights."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # its warnings on the weights are checked below
    logging.disable_progress_bar()
    try:
        network, report = AutoModel.from_pretrained(
            found.path,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (MemoryError, Mistake):
        raise
    except Exception as error:  # of safetensors, transformers or its check of config.json
        raise Mistake(
            f"the text encoder {found.path} cannot be read ({reason_of(error)}); make or download "
            "it again."
        ) from None
    wrong = [*report["missing_keys"], *map(str, report.get("mismatched_keys", ()))]
    # the published file is that of a language model, whose output layer is not used
    wrong += [key for key in report["unexpected_keys"] if not key.startswith("lm_head.")]
    if wrong:
        raise Mistake(
            f"the weights of the text encoder {found.path} do not fit its config.json (first: "
            f"'{sorted(wrong)[0]}'); make or download it again."
        )
    return network
