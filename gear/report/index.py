"""results/<study>/README.md: the study's claims, the first column of each table, all figures."""

from gear.report.sheet import md
from gear.study.vocabulary import ARROWS, METRICS, number, shown

VERDICTS = ("reproduced", "not reproduced", "not decidable here")
TOPICS = {"claims_t2i": " on text to image"}  # of a page of claims, in the sentence that counts
ROWS = 8  # rows of a table in its headline


def forms(results, spec):
    """{'md': text} of the page."""
    parts = [f"# Results of the study {spec['study']}", f"Study: {md(spec['world'])}."]
    shown = {page: of for page, of in spec["claims"].items() if of}
    if shown:
        parts.append("## What reproduces and what does not")
        for page, ours in shown.items():
            parts += claims(results, ours, page)
    if spec["tables"]:
        parts += ["## Tables", tables(results, spec["tables"])]
    if spec["figures"]:
        parts += ["## Figures", *(figure(each) for each in spec["figures"])]
    return {"md": "\n\n".join(parts) + "\n"}


def verdicts(results, known, page="claims"):
    """{verdict: [claim, ...]} of a page's CSV; known: the claims to include."""
    lines = results.csv(f"tables/{page}.csv", ("claim", "verdict")).drop_duplicates("claim")
    lines = lines[lines["claim"].isin(known)]
    lines["verdict"] = lines["verdict"].str.replace(r" \(n = .*", "", regex=True)
    return {name: list(lines.loc[lines["verdict"] == name, "claim"]) for name in VERDICTS}


def claims(results, ours, page="claims"):
    """Yield the paragraphs on a page's claims. ours: {claim: whether it is our own question}."""
    topic = TOPICS.get(page, "")
    for whose, own in (("the paper's claims", False), ("our own questions", True)):
        groups = verdicts(results, [claim for claim in ours if ours[claim] is own], page)
        count = sum(map(len, groups.values()))
        words = [f"{len(names)} {verdict}" for verdict, names in groups.items()]
        yield f"Of {count} of {whose}{topic}: {', '.join(words)}."
        yield "\n".join(
            f"- **{verdict}**: {md('; '.join(names))}."
            for verdict, names in groups.items()
            if names
        )
    yield f"[The page `{page}`](tables/{page}.md) has each criterion, the numbers and the verdict."


def _paper(entry, what):
    return f" · {what} {entry['paper']} of the paper" if entry["paper"] else ""


def tables(results, entries):
    """A line for each table: its title, and its trained rows in the first column."""
    lines = [
        "A star or the name gFD marks scores of a stand-in feature network. A row without ± is one "
        "training; small differences between such rows decide nothing.",
        "",
    ]
    lines += ["| table | its first column |", "| --- | --- |"]
    for entry in entries:
        title = md(entry["title"] + _paper(entry, "Table"))
        head = f"[{title}](tables/{entry['name']}.md)"
        lines.append(f"| {head} | {entry.get('said') or headline(results, entry)} |")
    return "\n".join(lines)


def headline(results, entry):
    """'gFD ↓: GEAR-L 0.80 ± 0.10, ...' of a table's first column."""
    if "column" not in entry:
        return ""
    column = entry["column"]
    columns = ("metric", "row", "sampler", "ours", "ours_sd")
    cells = results.csv(f"tables/{entry['name']}.csv", columns)
    cells = cells[(cells["metric"] == column["metric"]) & cells["row"].isin(entry["rows"])]
    if column["sampler"]:
        cells = cells[cells["sampler"] == column["sampler"]]
    decimals, words = METRICS[column["metric"]].decimals, []
    for cell in cells.head(ROWS).to_dict("records"):
        spread = f" ± {number(float(cell['ours_sd']), decimals)}" if cell["ours_sd"] else ""
        words.append(f"{cell['row']} {_value(cell['ours'], decimals)}{spread}")
    words += [f"and {len(cells) - ROWS} more"] if len(cells) > ROWS else []
    name = shown(column["metric"], column["protocol"])
    return md(f"{name}{ARROWS[METRICS[column['metric']].better]}: {'; '.join(words)}")


def _value(text, decimals):
    try:
        return number(float(text), decimals)
    except ValueError:
        return text  # diverged


def figure(entry):
    """A figure's title, picture, and links to its caption and data."""
    title = md(entry["title"] + _paper(entry, "Figure"))
    name = f"figures/{entry['name']}"
    return f"### {title}\n\n![{title}]({name}.svg)\n\n[Caption]({name}.md) · [data]({name}.csv)"
