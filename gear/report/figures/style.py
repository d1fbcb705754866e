"""The one style of all figures: colour-blind safe, readable in grey, equal bytes for equal data.

Colours are Okabe and Ito's (2008); curves differ in marker and line style too, so that a grey
print can be read. Fonts are the ones that matplotlib carries: no figure depends on the machine's.
"""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "xxxx", "....", "\\\\")  # bars, in a grey print
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 3)), (0, (1, 1)))

RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
    "svg.hashsalt": "gear",  # the ids in an SVG, else random
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # embed TrueType
    "image.interpolation": "nearest",
    "hatch.linewidth": 0.6,
}

# what savefig would write of dates and versions
METADATA = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}
