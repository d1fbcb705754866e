"""Files of prompts: what is drawn, and the name of each.

- .txt: one prompt a line; a prompt's key is its number from 0, in six digits
- .jsonl: one mapping a line, {"key": text or number, "caption" or "prompt": text}; a line without a
  key has its number; other fields are kept

No torch is loaded here.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from gear.files.mistakes import Mistake
from gear.files.reading import named, read_text, reason_of

LONG = 10_000  # characters of a prompt; an encoder reads far fewer
KEY = re.compile(r"(?![.-])[^/\\\x00-\x1f:*?\"<>|]{1,150}")  # a file's name on any system
CAPTIONS = ("caption", "prompt")


class Prompt(NamedTuple):
    key: str  # names the prompt's files
    caption: str
    line: dict  # all fields of its line of a .jsonl; {} of a .txt


def read_prompts(path):
    """The Prompts of a file, in its order.

    Mistake: the file is missing or of another kind, a line is blank or broken, or a key is there
    twice or cannot name a file."""
    path, readers = Path(path), {".txt": _plain, ".jsonl": _fields}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise Mistake(f"{path} does not end in .txt or .jsonl; name a file of prompts.")
    lines = read_text(path, "name a file of prompts").removeprefix("\ufeff").split("\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise Mistake(f"{path} has no prompt; write one on each line.")
    prompts, seen = [], {}
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number},"
        if not line.strip():
            raise Mistake(f"{where} is blank; remove the line, because each line is a prompt.")
        prompt = reader(line, number, where)
        twin = seen.setdefault(prompt.key.casefold(), number)
        if twin != number:
            raise Mistake(f"{where} has the key '{prompt.key}' of line {twin}; rename one of them.")
        prompts.append(prompt)
    return prompts


def captions_of(entry, manifest, settings):
    """The captions of one of a study's sets of prompts, a list of `count` texts.

    entry: one of the study's `prompts`; manifest: path of prepare_captions' manifest.json, needed
    for a `split`; settings: config.Settings. Mistake: the set has fewer captions than `count`."""
    count = entry["count"]
    if "file" in entry:
        where, found = entry["file"], [prompt.caption for prompt in read_prompts(entry["file"])]
    else:
        from gear.data.sets import image_set  # needs torch

        data = image_set(settings, entry["split"], manifest, 1, 0)
        where = f"{settings.data.path}/{entry['split']}"
        found = data.captions(0, min(count, len(data)))
    if len(found) < count:
        raise Mistake(
            f"{where} holds {len(found)} captions, prompts need {count}; lower `count` of the "
            "study's `prompts`, or add captions."
        )
    return found[:count]


def of_texts(texts):
    """The Prompts of texts that a command names. Their keys are their numbers. Mistake: one is
    empty."""
    checked = (check(text, f"prompt {number}") for number, text in enumerate(texts, 1))
    return [Prompt(f"{number:06d}", text, {}) for number, text in enumerate(checked)]


def check(text, where):
    """The text, if it can be a prompt. Mistake: it is not a text, or it is empty.

    where: the beginning of the Mistake's sentence."""
    if not isinstance(text, str):
        raise Mistake(f"{where} is {named(text)} and no text; write what the picture shows.")
    if not text.strip():
        raise Mistake(f"{where} is empty; write what the picture shows.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON and file names can hold them
        raise Mistake(f"{where} holds half of a character; write it in UTF-8.") from None
    return text


def too_long(prompts):
    """A sentence on prompts of more than LONG characters; None if there are none.

    Long prompts are cut by the encoder, not refused."""
    long = [prompt.key for prompt in prompts if len(prompt.caption) > LONG]
    if not long:
        return None
    return (
        f"prompt {long[0]} has more than {LONG:,} characters ({len(long)} such); the text encoder "
        "reads its first tokens alone"
    )


def _plain(line, number, where):
    return Prompt(f"{number - 1:06d}", line, {})


def _fields(line, number, where):
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Mistake(
            f"{where} is no JSON ({reason_of(error)}); correct the line, each is one mapping."
        ) from None
    if not isinstance(fields, dict):
        raise Mistake(f"{where} is {named(fields)}; write a mapping, {{key, caption}}.")
    names = [name for name in CAPTIONS if name in fields]
    if len(names) != 1:
        fault = "both 'caption' and 'prompt'" if names else "neither 'caption' nor 'prompt'"
        raise Mistake(f"{where} has {fault}; write one of them.")
    caption = check(fields[names[0]], f"{where} '{names[0]}'")
    key = fields.get("key", f"{number - 1:06d}")
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise Mistake(f"{where} has the key {named(key)}; write a text or a whole number.")
    if not KEY.fullmatch(str(key)) or str(key) != str(key).strip(" ."):
        raise Mistake(
            f"{where} has the key {str(key)!r:.60}, which cannot name a file; take letters, "
            "digits, '-' and '_'."
        )
    return Prompt(str(key), caption, fields)
