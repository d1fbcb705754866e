"""Sentences, for the notes of tables, on pictures that were drawn from captions."""

from gear.study.vocabulary import BENCHMARKS


def protocol(chosen):
    """The sentence on the protocol of pictures that are drawn from captions."""
    if not chosen:
        return []
    words = [f"{chosen['images']} images"]
    if "neighbours" in chosen:
        count = f" on {chosen['prdc_images']} images" if "prdc_images" in chosen else ""
        words.append(
            f"precision, recall, density and coverage with k = {chosen['neighbours']}{count}"
        )
    return [f"Protocol of the pictures of captions: {chosen['name']} ({'; '.join(words)})."]


def text_encoder(spec):
    """The sentences on the frozen text encoder, and on the features of no caption."""
    if "text_encoder" not in spec:
        return []
    return [
        f"Text encoder, frozen: {spec['text_encoder']}. The unconditional features, those of the "
        "empty caption, come by transformers' SDPA path, in which no position attends to anything; "
        "its eager path would give others. Which path the authors used is not known."
    ]


def record_words(record):
    """A protocol record in words: guidance and the other settings of drawing, seed and prompts."""
    words = [f"guidance {record['guidance']:g}"]
    if "temperature" in record:
        words.append(f"temperature {record['temperature']:g}")
        words.append(f"top-k {record['top_k'] or 'off'}")
        words.append(f"top-p {'off' if record['top_p'] == 1 else record['top_p']}")
        count = record["images"]
        words.append(f"{count} image{'s' if count > 1 else ''} a prompt")
        words.append(f"sampling seed {record['seed']}")
    if "precision" in record:
        words.append(f"precision {record['precision']}")
    return ", ".join([*words, f"prompts sha256 {record['prompts_sha256'][:16]}"])


def records(rows):
    """The sentences on how the pictures of captions were drawn; rows: as of tables.numbers."""
    said = {}
    for row in rows:
        for name, record in row.records.items():
            said.setdefault(f"{name}: {record_words(record)}", {})[row.spec["row"]] = None
    names = [text.split(":")[0] for text in said]
    words = [
        text + (f" ({', '.join(rows)})" if names.count(text.split(":")[0]) > 1 else "")
        for text, rows in said.items()
    ]
    return [f"Protocol record of the pictures. {'; '.join(words)}."] if words else []


def measures(metrics):
    """The sentences on the measures of pictures of captions."""
    said = []
    if "digit" in metrics:
        said.append(
            "Digit*: share of pictures that the stand-in classifier reads as the caption's digit. "
            "Stroke and slant: correlation of the wanted word (thin −1, none 0, bold 1; left −1, "
            "none 0, right 1) with the width or slant measured on the picture."
        )
    if any(metric.endswith("_shuffled") for metric in metrics):
        said.append("Shuffled: the same against the captions of other pictures, as chance has it.")
    if {*BENCHMARKS} & set(metrics):
        said.append(
            "GenEval and DPG are scored elsewhere; where no file of ours states a score, the cell "
            "has the paper's value alone."
        )
    return said
