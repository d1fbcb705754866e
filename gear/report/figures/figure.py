"""One figure from the numbers or pictures of its runs: pictures, a CSV of what is drawn, a caption.

The module of a kind has the kind's name and lies beside this one; see gear.report.figures.drawing.
"""

import importlib
import io

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gear.report import caption
from gear.report.figures import style
from gear.report.figures.drawing import Drawing
from gear.report.files import csv_text
from gear.report.sheet import Sheet, to_markdown


def forms(results, spec):
    """{ending: text or bytes} of a figure: svg, pdf, png, csv and md."""
    kind = importlib.import_module(f"gear.report.figures.{spec['kind']}")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style.RC)
        drawing: Drawing = kind.draw(results, spec)
        FigureCanvasAgg(drawing.figure)
        pictures = {form: _picture(drawing.figure, form) for form in ("svg", "pdf", "png")}
    return {
        **pictures,
        "csv": csv_text(drawing.columns, drawing.lines),
        "md": to_markdown(sheet(spec, drawing.sentences)),
    }


def sheet(spec, sentences):
    """The caption as a Sheet."""
    paper = f" · after Figure {spec['paper_figure']} of the paper" if spec["paper_figure"] else ""
    origin = caption.origin(spec, [spec["metric"]] if "metric" in spec else [])
    lines = (*spec.get("rows", ()), *spec.get("curves", ()), *spec.get("references", ()))
    return Sheet(
        spec["name"],
        spec["title"],
        paper,
        spec["reading"],
        notes=[sentences, caption.words([line["label"] for line in lines])],
        details=origin + caption.analysis(spec),
        picture=f"{spec['name']}.svg",
    )


def _picture(figure, form):
    """The figure's bytes in one format, without date, version or random id."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format=form, metadata=style.METADATA[form], bbox_inches="tight", pad_inches=0.06
    )
    return buffer.getvalue()
