"""The page that a browser shows of a study: its claims, the head of each table, each figure."""

from gear.report.sheet import md
from gear.study.vocabulary import ARROWS, METRICS, number, shown

VERDICTS = ("reproduced", "not reproduced", "not decidable here")
ROWS = 8  # of a table that stand in its headline


def forms(results, spec):
    """{ending: text} of the page: md."""
    parts = [f"# Results of the study {spec['study']}", f"Study: {md(spec['world'])}."]
    if spec["claims"]:
        parts += ["## What reproduces and what does not", *claims(results, spec["claims"])]
    if spec["tables"]:
        parts += ["## Tables", tables(results, spec["tables"])]
    if spec["figures"]:
        parts += ["## Figures", *(figure(each) for each in spec["figures"])]
    return {"md": "\n\n".join(parts) + "\n"}


def verdicts(results, known):
    """{verdict: [claim, ...]} by tables/claims.csv, of the claims that are known."""
    found = results.csv("tables/claims.csv").drop_duplicates("claim")
    found = found[found["claim"].isin(known)]
    found["verdict"] = found["verdict"].str.replace(r" \(n = .*", "", regex=True)
    return {name: list(found.loc[found["verdict"] == name, "claim"]) for name in VERDICTS}


def claims(results, ours):
    """Two paragraphs and a list. ours: {claim: whether it is a question of our own}."""
    for whose, own in (("the paper's claims", False), ("our own questions", True)):
        sorted_out = verdicts(results, [claim for claim in ours if ours[claim] is own])
        count = sum(map(len, sorted_out.values()))
        words = [f"{len(names)} {verdict}" for verdict, names in sorted_out.items()]
        yield f"Of {count} of {whose}: {', '.join(words)}."
        yield "\n".join(
            f"- **{verdict}**: {md('; '.join(names))}."
            for verdict, names in sorted_out.items()
            if names
        )
    yield "[The page `claims`](tables/claims.md) has each criterion, the numbers and the verdict."


def _paper(entry, what):
    return f" · {what} {entry['paper']} of the paper" if entry["paper"] else ""


def tables(results, entries):
    """A line for each table: its title, and the trained rows of its first column."""
    lines = ["A star or the name gFD marks scores of a stand-in feature network.", ""]
    lines += ["| table | its first column |", "| --- | --- |"]
    for entry in entries:
        title = md(entry["title"] + _paper(entry, "Table"))
        head = f"[{title}](tables/{entry['name']}.md)"
        lines.append(f"| {head} | {headline(results, entry)} |")
    return "\n".join(lines)


def headline(results, entry):
    """'gFD ↓: GEAR-L 0.80 ± 0.10, ...' of a table's first column."""
    column = entry["column"]
    cells = results.csv(f"tables/{entry['name']}.csv")
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
    """The picture with its title and a link to its caption."""
    title = md(entry["title"] + _paper(entry, "Figure"))
    name = f"figures/{entry['name']}"
    return f"### {title}\n\n![{title}]({name}.svg)\n\n[Caption]({name}.md) · [data]({name}.csv)"
