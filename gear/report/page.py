"""results/<study>/index.html: what was found, then the paper's figures and tables in its order.

    python -m gear.report.page FOLDER

makes FOLDER/index.html of what the study's folder holds: one file with its pictures in it, which
reads nothing from elsewhere and has no script. What is not made yet is listed, not shown.
"""

import argparse
import base64
import re
from html import escape
from pathlib import Path

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.report import html
from gear.report.files import Results
from gear.report.sheet import Cell, Grid, Head
from gear.report.tables import claims as claims_table
from gear.report.tables import kinds
from gear.report.tables.judge import VERDICTS, Judge
from gear.study.vocabulary import shown

PAGE, REPORT = "index.html", "report.html"
AFTER = {"1": 0, "4": 4, "5": 4}  # {figure of the paper: the table that it follows}
STANDIN = (
    " gFD, rFD and names with a star are scores on a stand-in feature network; they compare within "
    "this study alone."
)
PAPERS = " Where the paper prints one, it stands small below ours; the best of the paper's is bold."
LOOKS = {True: "yes", False: "no", None: "open"}  # of a verdict


# ---- what was found ------------------------------------------------------------------------------


def found(results, spec):
    """The counts of verdicts, the claims by verdict, and the whole table, folded."""
    judge = Judge(results, spec)
    judged = [judge.judge(claim) for claim in spec["claims"]]
    sheet = claims_table.sheet(spec, judged)
    lines = dict(zip((one.claim["claim"] for one in judged), sheet.grids[0].lines, strict=True))
    parts = []
    for ours, head in ((False, "The paper's claims"), (True, "Our own questions")):
        own = [one for one in judged if one.claim["ours"] is ours]
        counts = "".join(
            f'<li class="{LOOKS[holds]}"><b>{sum(one.holds is holds for one in own)}</b>{word}</li>'
            for holds, word in VERDICTS.items()
        )
        parts.append(f'<h3>{head}</h3><ul class="verdicts">{counts}</ul>' if own else "")
        for holds, word in VERDICTS.items():
            items = [_claim(lines[o.claim["claim"]], holds) for o in own if o.holds is holds]
            block = f'<ul class="claims">{"".join(items)}</ul>'
            if holds is None and items:
                block = html.folded(f"{len(items)} {word}", block)
            parts.append(block if items else "")
    return "\n".join((*parts, html.folded("All claims in one table", html.content(sheet))))


def _claim(cells, holds):
    """A claim with its verdict; on a click its criterion and what was seen."""
    claim, source, criterion, seen, paper, verdict = (escape(c.text, quote=False) for c in cells)
    rest = f"<p>Criterion: {criterion}.<br>Seen: {seen}."
    rest += f"<br>The paper's difference: {paper}." if paper else ""
    head = f'<b>{verdict}</b>: {claim} <span class="soft">{source}</span>'
    return f'<li class="{LOOKS[holds]}"><details><summary>{head}</summary>{rest}</p></details></li>'


# ---- how it was made -----------------------------------------------------------------------------


def _checkpoints(spec):
    """(label, folder, step = steps, seeds) of each line of a table or figure."""
    for row in (*spec.get("rows", ()), *([spec["of"] | {"row": "Ours"}] if "of" in spec else [])):
        if "run" in row:
            folder = f"{row['stage']}/{row['run']}/{row['step']}"
            seeds = [each["seed"] for each in row.get("replicas", (row,)) if "seed" in each]
            label = row.get("row") or f"{row.get('group', '')} {row['label']}".strip()
            yield label, folder, f"{row['step']} = {row['steps']}", seeds
    for curve in (*spec.get("curves", ()), *spec.get("references", ())):
        if "points" in curve:
            last = curve["points"][-1]
            run = next(iter(last["files"]))
            folder = f"{curve['stage']}/{run}/{last['step']}"
            yield curve["label"], folder, f"{last['step']} = {last['steps']}", []
        else:
            path = curve.get("file") or next(iter(curve["files"].values()))
            path = path.removeprefix("metrics/").rpartition("/")[0]
            yield curve["label"], path, path.rpartition("/")[2], []


def origin(results, spec):
    """The runs of a table or figure, folded: steps, seeds, commit, and their full record."""
    lines = []
    for label, folder, steps, seeds in _checkpoints(spec):
        record = f"{folder}/run.json"
        there = (results.root / record).is_file()
        made = results.json(record) if there else {}
        commit = (made.get("commit") or "")[:7] + (" and changes" if made.get("dirty") else "")
        seeds = seeds or [made["seed"]] if "seed" in made else seeds
        run = Cell(folder.split("/")[1], link=record if there else "")
        lines.append(
            [Cell(label), run, Cell(steps), Cell(", ".join(map(str, seeds))), Cell(commit)]
        )
    names = ("Shown as", "Run, with its record", "Milestone = steps", "Seeds", "Commit")
    head = [Head(name, left=True) for name in names]
    return html.folded("Runs", html.table(Grid(head, lines))) if lines else ""


# ---- tables and figures --------------------------------------------------------------------------


def spread_of(results, claims):
    """spread(column) of tables.sheet, from the seeds of the table `spread` of the spec of claims.

    It knows nothing where the trainings of that table are not scored."""
    judge, source = Judge(results, claims), claims["spread"]

    def spread(column):
        try:
            share = judge.spread(column["metric"])
        except Mistake:
            return None
        if not share:
            return None
        name = shown(column["metric"], column["protocol"])
        return (
            f"Other seeds move a difference in {name} by about {share:.0%} of {name} (sd, table "
            f"{source['table']}): smaller ones decide nothing, and a claim needs "
            f"{source['sds']:g} times as much."
        )

    return spread


def _reads_text(spec):
    return "text_encoder" in spec


def _spreads(results, study):
    """{whether a table is of captions: `spread_of` the page of claims that is too}."""
    found = dict.fromkeys((True, False), spread_of(results, study.claims_spec))
    for claims in study.claims_specs.values():
        source = study.table_specs.get(claims["spread"]["table"], {})
        found[_reads_text(source)] = spread_of(results, claims)
    return found


def table(results, spec, spread):
    """The section of one table; spread: see `spread_of`."""
    sheet = kinds.sheet(results, spec, spread)
    files = _files(results, f"tables/{spec['name']}", ("csv", "md", "tex"))
    return _section(spec, "Table", html.content(sheet, origin(results, spec) + files))


def figure(results, spec):
    """The section of one figure; its caption is taken from its Markdown."""
    path = f"figures/{spec['name']}"
    picture = _picture(results.root / f"{path}.svg", spec["title"])
    reading = f'<p class="reading">{html.prose(spec["reading"])}</p>' if spec["reading"] else ""
    text = (results.root / f"{path}.md").read_text(encoding="utf-8")
    blocks = [re.sub(r"\\([|*_])", r"\1", block) for block in text.strip().split("\n\n")]
    said = [b for b in blocks[1:] if b[0] not in "!<" and b != spec["reading"]]
    notes = "".join(f"<p>{escape(block, quote=False)}</p>" for block in said)
    files = _files(results, path, ("csv", "svg", "pdf", "png"))
    more = html.beside(html.folded("Caption", notes), origin(results, spec), files)
    return _section(spec, "Figure", f"{reading}{picture}{more}")


def _picture(path, title):
    """An <img> that holds its picture: a chart as SVG, a grid of small images as PNG."""
    content, kind = path.read_bytes(), "svg+xml"
    pixels = b"<image" in content
    if pixels:
        content, kind = path.with_suffix(".png").read_bytes(), "png"
    data = base64.b64encode(content).decode()
    look = "pixels" if pixels else "chart"
    image = f'<img class="{look}" alt="{escape(title)}" src="data:image/{kind};base64,{data}">'
    return image if pixels else f'<div class="wide">{image}</div>'


def _files(results, path, endings):
    """Links to the files of a table or figure that are there."""
    there = [e for e in endings if (results.root / f"{path}.{e}").is_file()]
    links = " · ".join(html.link(f"{path}.{ending}", ending.upper()) for ending in there)
    return f'<p class="files">{links}</p>'


def _number(spec, noun):
    """'Table 5', or '' for what the paper does not have."""
    number = spec.get("paper_table") or spec.get("paper_figure")
    return f"{noun} {number}" if number else ""


def _section(spec, noun, body):
    number = _number(spec, noun)
    words = f'<span class="soft">{number} of the paper · </span>' if number else ""
    title = escape(spec["title"], quote=False)
    return f'<section id="{spec["name"]}"><h3>{words}{title}</h3>\n{body}\n</section>'


# ---- the page ------------------------------------------------------------------------------------


def ordered(study):
    """((noun, spec), ...) of the paper's figures and tables in its order, and the same of ours."""
    every = [("Figure", spec) for spec in study.figure_specs.values()]
    every += [("Table", spec) for spec in study.table_specs.values()]
    papers = [each for each in every if _number(each[1], each[0])]

    def place(each):
        number = str(each[1].get("paper_figure") or each[1].get("paper_table"))
        if each[0] == "Table":
            return int(number), 0, number
        return AFTER.get(number[0], int(number[0])), 1, number

    return sorted(papers, key=place), [each for each in every if each not in papers]


def _there(root, noun, name):
    endings = ("csv",) if noun == "Table" else ("svg", "png", "md")
    folder = "tables" if noun == "Table" else "figures"
    return all((root / folder / f"{name}.{ending}").is_file() for ending in endings)


def page(study, root):
    """The text of the page. Mistake: nothing of the study is made yet."""
    results, chapters, contents, missing = Results(root), [], [], []
    for name, claims in study.claims_specs.items():
        if (results.root / f"tables/{name}.csv").is_file():
            head, place = (
                ("What was found", "found") if name == "claims" else (claims["title"], name)
            )
            chapters.append(f'<h2 id="{place}">{escape(head)}</h2>\n{found(results, claims)}')
            contents.append(f'<li><a href="#{place}">{escape(head)}</a></li>')
    heads = ("The paper's figures and tables", "Pictures, and questions of our own")
    spreads = _spreads(results, study)
    for number, (head, entries) in enumerate(zip(heads, ordered(study), strict=True)):
        made = [(n, spec) for n, spec in entries if _there(results.root, n, spec["name"])]
        missing += [spec["name"] for n, spec in entries if (n, spec) not in made]
        if not made:
            continue
        sections = "\n".join(
            table(results, spec, spreads[_reads_text(spec)])
            if noun == "Table"
            else figure(results, spec)
            for noun, spec in made
        )
        chapters.append(f'<h2 id="part{number}">{head}</h2>\n{sections}')
        items = "".join(
            f"<li>{html.link('#' + spec['name'], _short(noun, spec))}</li>" for noun, spec in made
        )
        contents.append(f'<li><a href="#part{number}">{head}</a><ul>{items}</ul></li>')
    if not chapters:
        raise Mistake(f"{root} has no tables or figures of study '{study.name}'; make some first.")
    return html.document(
        f"GEAR: {study.name}", _body(study, results.root, chapters, missing), _nav(contents)
    )


def _short(noun, spec):
    number = _number(spec, noun)
    title = re.sub(r" \(.*|:.*|(?<=\?).*", "", spec["title"])
    return f"{number} · {title}" if number else title


def _nav(contents):
    items = "".join(contents)
    return f"<nav><details><summary>Contents</summary><ol>{items}</ol></details></nav>"


def _body(study, root, chapters, missing):
    rows = [row for spec in study.table_specs.values() for row in spec["rows"]]
    intro = (
        f"<h1>GEAR, regenerated</h1><p class='soft'>Study {escape(study.spec['title'])}.</p>"
        f"<p>Each number is ours.{PAPERS if any(row['paper'] for row in rows) else ''}"
        f"{STANDIN if study.spec['features']['kind'] == 'standin' else ''}</p>"
    )
    names = ", ".join(missing)
    said = f'<p class="soft">Not made yet: {names}.</p>' if missing else ""
    if (root / REPORT).is_file():
        said += f"<p class='soft'>{html.link(REPORT, 'Snakemake’s report')} has each job.</p>"
    return "\n".join((intro, said, *chapters))


def write_page(folder):
    """Write FOLDER/index.html and return its path; FOLDER: a study's results, such as results/demo.

    Mistake: the folder's name is no study's, or nothing is made there."""
    from gear.study.registry import Study

    root = Path(folder)
    study = Study(root.name, str(root.parent))
    target = root / PAGE
    write(target, page(study, root))
    return target


def said(folder):
    """Write the page; the line that says where it is."""
    page = write_page(folder)
    return f"The results as a page, for a browser: {page} ({page.resolve().as_uri()})"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="a study's results, such as results/demo")
    folder = parser.parse_args(arguments).folder
    try:
        print(said(folder))
    except Mistake as error:
        raise SystemExit(f"gear.report.page: {error}") from None


if __name__ == "__main__":
    main()
