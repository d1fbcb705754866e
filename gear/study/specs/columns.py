"""The columns of a table: a metric, the sampler whose pictures it scores, and the protocol.

A column that a study cannot measure is kept if the paper has values for it, and shows these alone.
"""

from gear.files.mistakes import Mistake, did_you_mean
from gear.study.published import published_samplers
from gear.study.specs.world import protocol_name
from gear.study.vocabulary import BENCHMARKS, METRICS, OF_TEXT, SAMPLED, metric

COCO = ("coco", "clip")  # blocks scored on the pictures of COCO's captions


def draws_captions(study, sampler):
    """Whether a sampler draws from captions; False for a name that the study does not have."""
    return "prompts" in study.spec["samplers"].get(sampler, {})


def block_of(study, key, sampler):
    """The block of a metric of a sampler's pictures.

    Precision and recall of pictures of captions are in the block gpic."""
    block = METRICS[key].block
    return "gpic" if block == "generation" and draws_captions(study, sampler) else block


def guidance_of(sampler):
    """The guidance that a sampler's name states: 16 for text-cfg16, 1 for text."""
    scale = sampler.partition("-cfg")[2] or "1"
    try:
        return float(scale)
    except ValueError:
        raise Mistake(
            f"the sampler '{sampler}' states no guidance; name it as in text-cfg16."
        ) from None


def measured(study, key, sampler):
    """Whether a study scores a metric of a sampler's pictures in its own jobs."""
    block = METRICS[key].block
    if block == "benchmark":
        return False
    if block == "following" and not study.makes_captions:
        return False
    return block not in SAMPLED or sampler is None or sampler in study.spec["samplers"]


def _known(study, sampler, where):
    """Mistake unless a sampler is one of the study's or of the paper's."""
    known = list(study.spec["samplers"]) + published_samplers(study)
    if sampler is not None and sampler not in known:
        raise Mistake(
            f"{where}: study '{study.name}' has no sampler '{sampler}'. "
            f"{did_you_mean(sampler, known)}"
        )


def _drawn(study, sampler, where):
    """Mistake unless a sampler is one of the study's."""
    study.sampler(sampler, where)


def _column(study, key, sampler, where, example=None):
    """One column of a table. Mistake: the sampler does not exist.

    sampler: '' for a metric that is not a score of pictures, None if each row names its own
    sampler; example: one of the rows' samplers."""
    if metric(key, where).block == "benchmark":
        protocol = BENCHMARKS[key]
    else:
        protocol = protocol_name(study, block_of(study, key, sampler or example))
    column = {"metric": key, "sampler": sampler, "protocol": protocol}
    if METRICS[key].block in (*OF_TEXT, "benchmark"):
        _known(study, sampler, where)
        if not measured(study, key, sampler):
            column["measured"] = False
    elif sampler:
        _drawn(study, sampler, where)
    return column


def columns(study, entry, where):
    """All columns of a table: metrics of pictures once for each sampler, other metrics once.

    Mistake: rows and table both name samplers, nobody names one, or a name does not exist."""
    if "parts" in entry:
        return [column for part in entry["parts"] for column in _part(study, part, where)]
    blocks = {key: metric(key, where).block for key in entry["metrics"]}
    sampled = {key: block in SAMPLED for key, block in blocks.items()}
    of_text = set(blocks.values()) & {*OF_TEXT, "benchmark"}
    own = [row for row in entry["rows"] if "sampler" in row]
    if own and entry["samplers"]:
        raise Mistake(f"{where}: row '{own[0]['row']}' has its own sampler; set samplers: [].")
    for row in own:
        (_known if of_text else _drawn)(study, row["sampler"], where)
    samplers = entry["samplers"] or ([None] if own else [])
    if any(sampled.values()) and not samplers:
        raise Mistake(f"{where}: its metrics need samples; name samplers, as in [plain].")
    if len(samplers) > 1:
        pairs = [(key, s) for s in samplers for key in sampled if sampled[key]]
        pairs += [(key, "") for key in sampled if not sampled[key]]
    else:
        pairs = [(key, samplers[0] if sampled[key] else "") for key in sampled]
    example = own[0]["sampler"] if own else None
    return [_column(study, *pair, where, example) for pair in pairs]


def _part(study, part, where):
    """Yields the columns below one head. Metrics of COCO have a sampler of their own.

    Mistake: a metric is not a score of pictures."""
    for key in part["metrics"]:
        block = metric(key, where).block
        if block not in SAMPLED:
            raise Mistake(f"{where}: '{key}' is not a score of pictures; leave it out of `parts`.")
        sampler = part["coco"] if block in COCO and "coco" in part else part["sampler"]
        yield _column(study, key, sampler, where) | {"part": part["head"]}


def scored(columns, row):
    """The samplers whose files of scores a row of a table reads, each once.

    columns: of the table; row: of tables.yaml."""
    names = {}
    for column in columns:
        block = METRICS[column["metric"]].block
        if block in SAMPLED and block != "benchmark" and column.get("measured", True):
            names[row["sampler"] if column["sampler"] is None else column["sampler"]] = None
    return list(names)
