"""Sentences of captions: what was measured, how often, and what may not be concluded."""

from gear.report import captioned
from gear.report.sheet import BEST, GAIN, PAPER
from gear.study.vocabulary import (
    ARROWS,
    COLLAPSED,
    METRICS,
    PLACES,
    WHERE,
    WORDS,
    shown,
)

WAYS = {-1: "lower", 1: "higher"}
DECIDING = 6  # seeds from which a sign test can give p < 0.05


def _listed(items):
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def words(names):
    """The sentences that explain the words of the field and of this project in names of rows."""
    return [
        f"“{word}”: {said}." for word, said in WORDS.items() if any(word in name for name in names)
    ]


def sampler_words(sampler):
    """'CFG 1.5' or 'no guidance', then all other settings of the sampler."""
    guidance = sampler.get("guidance", 1.0)
    words = ["no guidance" if guidance == 1 else f"CFG {guidance:g}"]
    for key, value in sampler.items():
        if key not in ("images", "guidance", "prompts"):
            words.append(f"{key.replace('_', '-')} {value}")
    return ", ".join(words)


def samplers(spec):
    words = []
    for name, sampler in spec["samplers"].items():
        images = f"{sampler['images']} images, " if "images" in sampler else ""
        images += f"of prompts {sampler['prompts']}, " if "prompts" in sampler else ""
        words.append(f"{name} ({images}{sampler_words(sampler)})")
    return [f"Sampler{'s' if len(words) > 1 else ''}: {_listed(words)}."] if words else []


def protocols(spec, metrics):
    """The sentences on protocols, with their open choices, and on the features."""
    sentences, features = [], spec["features"] or {}
    generation = spec["protocols"].get("generation")
    if generation:
        words = [f"{generation['images']} images"] if "images" in generation else []
        if {"precision", "recall"} & set(metrics) and "neighbours" in generation:
            count = f" on {generation['prdc_images']} images" if "prdc_images" in generation else ""
            words.append(f"precision and recall with k = {generation['neighbours']}{count}")
        if "is" in metrics and generation.get("split_size"):
            words.append(f"IS over parts of {generation['split_size']}")
        sentences.append(f"Protocol of the samples: {generation['name']} ({'; '.join(words)}).")
    sentences += captioned.protocol(spec["protocols"].get("text"))
    validation = spec["protocols"].get("validation")
    if validation:
        count = f" ({validation['images']} validation images)" if "images" in validation else ""
        sentences.append(f"Protocol of the reconstruction: {validation['name']}{count}.")
    if spec.get("text_features"):
        sentences.append(f"Features of the pictures of captions: {spec['text_features']}.")
    if features.get("kind") == "standin":
        named = [METRICS[m].stand_in for m in metrics if METRICS[m].stand_in != METRICS[m].name]
        stars = any(name.endswith("*") for name in (METRICS[m].stand_in for m in metrics))
        names = [name for name in named if name.endswith("D")]
        names += ["all that is marked *"] if stars else []
        network = "DINOv2" if "text" in spec["protocols"] else "Inception"
        sentences.append(
            f"Computed on {features['label']}, not on {network}'s: {_listed(names)}; they compare "
            "only within this study."
        )
    elif features.get("label"):
        sentences.append(f"Features: {features['label']}.")
    return sentences


def teachers(spec):
    if not spec["teachers"]:
        return []
    words = []
    for name, teacher in spec["teachers"].items():
        label = teacher.get("label") or name
        words.append(f"{label} in place of {name}" if teacher["kind"] == "standin" else label)
    return [f"Alignment teacher: {_listed(words)}."]


def lpips(weights):
    """The sentence on the weights of LPIPS; none where no tokenizer was trained with it."""
    if not weights:
        return []
    return [
        f"LPIPS in the tokenizers' loss: weight {_listed(f'{w:g}' for w in weights)} (the paper "
        "states 0.1, the published code has 1)."
    ]


def analysis(spec):
    """The sentences on CKNNA and CKA, with the choices that the paper leaves open."""
    if "analysis" not in spec:
        return []
    chosen = spec["analysis"]
    kernel = {"inner": "inner products", "cosine": "inner products of unit vectors"}
    k = chosen["neighbours"]
    images = chosen.get("images", "all")
    return [
        "CKNNA and CKA with the alignment teacher's patch features, of averaged weights, on "
        f"{images} validation images (1: alike, 0: unrelated). Patch level: the "
        "positions of an image are compared with each other, mean over images. Image level: "
        f"means over positions, the images compared in batches of {chosen['batch']}, mean over "
        f"batches. Kernel: {kernel[chosen['kernel']]}; CKNNA with k = {k['image']} (image) and "
        f"{k['patch']} (patch) and unbiased HSIC, CKA with {chosen['cka']} HSIC. The paper states "
        "none of these choices."
    ]


def resolutions(spec):
    """The sentences on the image size of each row; none where all rows have the same."""
    if "resolutions" not in spec:
        return []
    images, scored = spec["resolutions"]["images"], spec["resolutions"]["scored"]
    rows = {}
    for row in spec["rows"]:
        for replica in row.get("replicas", ()):
            rows.setdefault(images[replica["run"]], []).append(row["row"])
    sizes = (f"{pixels} pixels ({', '.join(names)})" for pixels, names in rows.items())
    sentences = [
        f"Resolution: {_listed(sizes)}. Samples of another size are resized to {scored} pixels, by "
        "the antialiased bicubic filter, before they are scored."
    ]
    aliased = [row["row"] for row in spec["rows"] if row.get("aliased")]
    if aliased:
        sentences.append(
            f"{_listed(aliased)}: the same samples, resized as in the published code, bicubic "
            "without antialias and before they are rounded to 8 bits; the paper's numbers of these "
            "sizes are of such images."
        )
    if any(teacher["kind"] == "standin" for teacher in spec["teachers"].values()):
        sentences.append(
            f"The stand-in teacher was trained at {scored} pixels; for larger images its positions "
            "are interpolated to their token grid. All rows start from the tokenizer of "
            f"{scored} pixels."
        )
    return sentences


def steps(rows):
    """The sentence on the steps of each milestone; rows: dicts with stage, step, steps."""
    stops = {(row["stage"], row["step"], row["steps"]): None for row in rows if "stage" in row}
    if not stops:
        return []
    words = _listed(f"{stage} {step} = {count}" for stage, step, count in stops)
    return [f"Steps: {words} optimizer steps."]


def _seeds(rows):
    """The sentence on the trainings per row, with the rows that have another number of them."""
    of = {}
    for row in rows:
        of.setdefault(tuple(replica["seed"] for replica in row["replicas"]), []).append(row["row"])
    most = max(of, key=lambda seeds: (len(seeds), len(of[seeds])), default=())
    seeds = _listed(map(str, dict.fromkeys(seed for each in of for seed in each)))
    if len(most) < 2:
        return [f"One training per row (seed{'s' if len(of) > 1 else ''} {seeds})."] if of else []
    fewer = [
        f"; n = {len(each)} for {_listed(names)}"
        for each, names in of.items()
        if len(each) < len(most)
    ]
    return [
        f"Mean ± sample sd over n = {len(most)} trainings per row (seeds {seeds}){''.join(fewer)}."
    ]


def _brackets(rows):
    """The sentence on the row that each difference in brackets refers to."""
    pairs = [(r["row"], r["baseline"]) for r in rows if r["baseline"]]
    if not pairs:
        return []
    names = [r["row"] for r in rows]
    paired = ", paired over seeds" if any(len(r["replicas"]) > 1 for r in rows) else ""
    above = all(names.index(base) == names.index(row) - 1 for row, base in pairs)
    if above:
        return [f"{GAIN}: difference from the trained row above{paired}."]
    if len({base for _, base in pairs}) == 1:
        return [f"{GAIN}: difference from the row {pairs[0][1]}{paired}."]
    listed = "; ".join(f"{row} − {base}" for row, base in pairs)
    return [f"{GAIN}: difference from the baseline row{paired} ({listed})."]


def _paper(spec):
    """The sentence on the paper's values beside ours."""
    if spec["paper_table"] is None:
        return []
    table = f"Table {spec['paper_table']}"
    if spec["compares_with_paper"]:
        return [
            f"{PAPER}: the paper's value ({table}); Δ = ours − paper, where the protocol is "
            "the same."
        ]
    data = "GPIC" if "text_encoder" in spec else "ImageNet"
    return [
        f"{PAPER}: the paper's value ({table}), in its own protocol and on {data}: another "
        "world (data set, network, metric), printed for orientation and not to be subtracted."
    ]


def study(spec):
    named = spec["world"].startswith(spec["study"])
    return [f"Study: {'' if named else spec['study'] + ', '}{spec['world']}."]


def origin(spec, metrics=(), rows=()):
    """The sentences on study, steps, samplers, protocols and teachers."""
    world = study(spec) + steps(rows) + resolutions(spec) + samplers(spec)
    world += (
        protocols(spec, list(dict.fromkeys(metrics)))
        + teachers(spec)
        + captioned.text_encoder(spec)
    )
    return world + lpips(spec.get("lpips"))


def arrows(metrics):
    """'↓ lower is better, ↑ higher is better.', as far as the metrics need it."""
    ways = {METRICS[key].better for key in metrics}
    said = [f"{ARROWS[w].strip()}\u00a0{way} is better" for w, way in WAYS.items() if w in ways]
    return [f"{', '.join(said)}."] if said else []


def reading(spec, compared, marked, spread):
    """The reading aid of a table, in a line.

    compared: lists of the rows that the mark of the best compares; marked: whether a cell has it;
    spread: see table.sheet."""
    said = arrows([column["metric"] for column in spec["columns"]])
    rows = [row for group in compared for row in group]
    if not any(row.spec.get("baseline") for row in rows):
        best = "the best of the rows"
    elif set(map(len, compared)) == {2}:
        best = "the better of a row and its baseline"
    else:
        best = "the best of the rows that are compared"
    said += [f"{BEST}: {best}."] if marked else []
    return " ".join(filter(None, [spec["reading"], *said, *_single(spec, rows, spread)]))


def _single(spec, rows, spread):
    """What may not be concluded from rows that are one training each."""
    alone = [row.spec["row"] for row in rows if len(row.spec["replicas"]) == 1]
    if len(alone) < len(rows):
        return [f"One training alone: {_listed(alone)}."] if alone else []
    if len(rows) < 2:
        return []
    if len({(row.spec["run"], row.spec["step"]) for row in rows}) == 1:
        return ["All rows are one training; small differences decide nothing."]
    known = (spread(column) for column in spec["columns"])
    said = next(filter(None, known), "")
    if not said:
        return ["Each row is one training; small differences decide nothing."]
    return [f"Each row is one training. {said}"]


def table(spec, constant=(), rows=()):
    """Two lists of sentences on a table: how to read it, and what it was made with.

    rows: as of tables.numbers; constant: (head, value) of the columns that are left out because
    all rows have the same."""
    metrics = [column["metric"] for column in spec["columns"]]
    trained = [row for row in spec["rows"] if "run" in row]
    notes = [spec["note"]] if "note" in spec else []
    notes += _seeds(trained) + ([] if spec["comparisons"] else _brackets(trained)) + _paper(spec)
    notes += [f"{head}: {value} in all rows." for head, value in constant]
    if spec["parameters"]:
        whose = {"ar": "AR model", "tokenizer": "tokenizer"}[spec["parameters"]]
        notes.append(f"Params: of the {whose}, in millions.")
    if "ntp" in metrics:
        notes.append(
            "NTP losses (nats per token) under different tokenizers are no quality "
            "measure: a collapsed codebook has a tiny one."
        )
    notes += captioned.measures(metrics)
    if {"top1", "top10", "entropy", "effective_size"} & set(metrics):
        notes.append(
            "Masses and soft entropy (nats): of p = softmax(scores / τ), means over the tokens of "
            "the validation images. Effective size = exp(soft entropy)."
        )
    notes += words([row["row"] for row in trained])
    return notes, origin(spec, metrics, trained) + captioned.records(rows) + analysis(spec)


def comparisons(compared):
    """The sentence above the table of paired differences."""
    n = max((pairs.n for columns in compared.values() for pairs in columns), default=0)
    p = "; p: of the exact two-sided sign test" if n >= DECIDING else ""
    return f"Differences paired by seed: mean ± sample sd, and on how many of {n} seeds{p}."


def collapsed(rows):
    """The footnote of marked rows: how many of their runs collapsed."""
    marked = [row for row in rows if row.collapsed]
    if not marked:
        return []
    counts = [
        f"{row.spec['row']}: {row.collapsed} of {len(row.spec['replicas'])} seeds"
        for row in marked
        if len(row.spec["replicas"]) > 1
    ]
    count = f" ({'; '.join(counts)})" if counts else ""
    return [f"† codebook collapsed: less than {COLLAPSED:.0%} of the codes are in use{count}."]


def paper_head(spec, position):
    """The metric's name in the paper's protocol; '' if the paper has no value in the column."""
    cells = [row["paper"].get(str(position)) for row in spec["rows"]]
    protocol = next((cell["protocol"] for cell in cells if cell), None)
    return shown(spec["columns"][position]["metric"], protocol) if protocol else ""


def column_head(column):
    """A column's head, such as 'gFD ↓'."""
    return shown(column["metric"], column["protocol"]) + ARROWS[METRICS[column["metric"]].better]


def part(column):
    """What tables have a grid of their own for: a place of features, else a sampler or ''."""
    place = column["metric"].rpartition("_")[2]
    return place if place in PLACES else column.get("part", column["sampler"])


def part_head(spec, name):
    """The sentence above the columns of one of several parts."""
    if name in PLACES:
        return WHERE[name]
    if any(column.get("part") == name for column in spec["columns"]):
        return f"{name}:"
    words = sampler_words(spec["samplers"][name])
    return f"{words[0].upper()}{words[1:]}:"
