"""One figure from the numbers or pictures of its runs.

    python -m gear.report.figures.figure --root ROOT --spec JSON --output ROOT/figures/NAME

writes NAME.{svg,pdf,png}, NAME.csv (exactly what is drawn) and NAME.md (the caption). Equal inputs
give equal bytes. JSON is what `gear.study.specs.tables.figure_spec` made.
"""

import argparse
import io
import json
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.report import caption, files
from gear.report.figures import bars, codebook, convergence, depth, grids, style
from gear.report.tables.markup import md

# kind -> function (root, spec) -> (figure, CSV columns, CSV lines, caption sentences)
KINDS = {
    "convergence": convergence.convergence,
    "bars": bars.bars,
    "codebook": codebook.codebook,
    "depth_similarity": depth.depth_similarity,
    "samples": grids.samples,
    "class_grids": grids.class_grids,
    "reconstruction_grid": grids.reconstructions,
}


def _picture(figure, kind):
    """The figure's bytes in one format, without date, version or random id."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=kind, metadata=style.METADATA[kind], bbox_inches="tight", pad_inches=0.06
    )
    return buffer.getvalue()


def heading(spec):
    """The figure's title, and which figure of the paper it is after."""
    paper = f" · after Figure {spec['paper_figure']} of the paper" if spec["paper_figure"] else ""
    return spec["title"] + paper


def write_figure(root, spec, output):
    """Write output.{svg,pdf,png,csv,md}."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style.RC)
        figure, columns, lines, said = KINDS[spec["kind"]](root, spec)
        FigureCanvasAgg(figure)
        pictures = {kind: _picture(figure, kind) for kind in ("svg", "pdf", "png")}
    for kind, content in pictures.items():
        write(f"{output}.{kind}", content)
    write(f"{output}.csv", files.csv_text(columns, lines))
    name = Path(output).name
    made = caption.study(spec) + caption.samplers(spec)
    made += caption.protocols(spec, [spec["metric"]] if "metric" in spec else [])
    made += caption.teachers(spec) + caption.analysis(spec)
    text = [
        f"## {md(heading(spec))}",
        "",
        f"![{md(spec['title'])}]({name}.svg)",
        "",
        md(" ".join(said)),
        "",
        md(" ".join(made)),
        "",
    ]
    write(f"{output}.md", "\n".join(text))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, help="folder of the study's results")
    parser.add_argument("--spec", required=True, help="JSON of gear.study.specs.tables.figure_spec")
    parser.add_argument("--output", required=True, help="path of the figure without its ending")
    given = parser.parse_args(arguments)
    try:
        write_figure(given.root, json.loads(given.spec), given.output)
    except Mistake as error:
        raise SystemExit(f"gear.report.figures.figure: {error}") from None


if __name__ == "__main__":
    main()
