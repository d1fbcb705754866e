"""Sentences of captions: what was measured, how often, and what may not be concluded."""

from gear.report.sheet import PAPER
from gear.study.vocabulary import ARROWS, COLLAPSED, METRICS, shown


def _listed(items):
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def sampler_words(sampler):
    """'CFG 1.5' or 'no guidance', then all other settings of the sampler."""
    guidance = sampler.get("guidance", 1.0)
    words = ["no guidance" if guidance == 1 else f"CFG {guidance:g}"]
    for key, value in sampler.items():
        if key not in ("images", "guidance"):
            words.append(f"{key.replace('_', '-')} {value}")
    return ", ".join(words)


def samplers(spec):
    words = []
    for name, sampler in spec["samplers"].items():
        images = f"{sampler['images']} images, " if "images" in sampler else ""
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
    validation = spec["protocols"].get("validation")
    if validation:
        count = f" ({validation['images']} validation images)" if "images" in validation else ""
        sentences.append(f"Protocol of the reconstruction: {validation['name']}{count}.")
    if features.get("kind") == "standin":
        names = [METRICS[m].stand_in for m in metrics if METRICS[m].stand_in.endswith("D")]
        names += ["all that is marked *"] if {"is", "precision", "recall"} & set(metrics) else []
        sentences.append(
            f"Computed on {features['label']}, not on Inception's: {_listed(names)}; they compare "
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
    counts = {len(row["replicas"]) for row in rows}
    seeds = list(dict.fromkeys(r["seed"] for row in rows for r in row["replicas"]))
    if counts == {1}:
        which = f"seed{'s' if len(seeds) > 1 else ''} {_listed(map(str, seeds))}"
        return [f"One training per row ({which}), so its spread is not known."]
    return [
        f"Mean ± sample sd over n = {_listed(map(str, sorted(counts)))} trainings per row (seeds "
        f"{_listed(map(str, seeds))})."
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
        return [f"In brackets: difference from the trained row above{paired}."]
    if len({base for _, base in pairs}) == 1:
        return [f"In brackets: difference from the row {pairs[0][1]}{paired}."]
    listed = "; ".join(f"{row} − {base}" for row, base in pairs)
    return [f"In brackets: difference from the baseline row{paired} ({listed})."]


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
    return [
        f"{PAPER}: the paper's value ({table}), in its own protocol and on ImageNet: another "
        "world (data set, network, metric), printed for orientation and not to be subtracted."
    ]


def study(spec):
    named = spec["world"].startswith(spec["study"])
    return [f"Study: {'' if named else spec['study'] + ', '}{spec['world']}."]


def origin(spec, metrics=(), rows=()):
    """The sentences on study, steps, samplers, protocols and teachers."""
    world = study(spec) + steps(rows) + resolutions(spec) + samplers(spec)
    return world + protocols(spec, list(dict.fromkeys(metrics))) + teachers(spec)


def table(spec):
    """Two lists of sentences below a table: how to read it, and what it was made with."""
    metrics = [column["metric"] for column in spec["columns"]]
    trained = [row for row in spec["rows"] if "run" in row]
    reading = _seeds(trained) + _brackets(trained)
    if any(row["bold"] for row in trained):
        reading.append("Bold: the default setting.")
    reading += _paper(spec)
    if any(row["source"] == "quoted" for row in spec["rows"]):
        reading.append("Rows marked “quoted” are the paper's alone; none of them was trained here.")
    if spec["parameters"]:
        whose = {"ar": "AR model", "tokenizer": "tokenizer"}[spec["parameters"]]
        reading.append(f"Params: of the {whose}, in millions.")
    if "ntp" in metrics:
        reading.append(
            "NTP losses (nats per token) under different tokenizers are no quality "
            "measure: a collapsed codebook has a tiny one."
        )
    if {"top1", "top10", "entropy", "effective_size"} & set(metrics):
        reading.append(
            "Masses and soft entropy (nats): of p = softmax(scores / τ), means over the tokens of "
            "the validation images. Effective size = exp(soft entropy)."
        )
    return [reading, origin(spec, metrics, trained) + analysis(spec)]


def comparisons(compared):
    """The sentence above the table of paired differences."""
    n = max((pairs.n for columns in compared.values() for pairs in columns), default=0)
    least = min(1.0, 2 / 2**n)
    return (
        "Differences paired by seed: mean ± sample sd (in how many of the n seeds the difference "
        f"is below zero; p of the exact two-sided sign test, which cannot be below {least:.2g} "
        f"with n = {n})."
    )


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


def column_head(spec, column):
    """A column's head such as 'gFD ↓ (CFG 1.5)'; the sampler is named if there are several."""
    head = shown(column["metric"], column["protocol"]) + ARROWS[METRICS[column["metric"]].better]
    several = len({c["sampler"] for c in spec["columns"] if c["sampler"]}) > 1
    if several and column["sampler"]:
        words = sampler_words(spec["samplers"][column["sampler"]])
        head += "" if words == "no guidance" else f" ({words})"
    return head
