"""Make one table, one figure, the page of claims or the index from the files of a study.

    python -m gear.report.make table --root ROOT --spec JSON --output ROOT/tables/NAME

writes NAME with an ending for each form: .csv and .md; for a table or the claims also .tex and
.html; for a figure also .svg, .pdf and .png. Equal inputs give equal bytes. JSON is a spec of
gear.study.specs.
"""

import argparse
import importlib
import json

from gear.files.aside import write
from gear.files.mistakes import Mistake
from gear.report.files import Results

MODULES = {  # each has forms(results, spec) -> {ending: text or bytes}
    "table": "gear.report.tables.kinds",
    "claims": "gear.report.tables.claims",
    "figure": "gear.report.figures.figure",
    "index": "gear.report.index",
}


def make(what, root, spec, output):
    """Write all forms of one result; what: a key of MODULES, output: path without ending."""
    forms = importlib.import_module(MODULES[what]).forms(Results(root), spec)
    for ending, content in forms.items():
        write(f"{output}.{ending}", content)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=MODULES)
    parser.add_argument("--root", required=True, help="folder of the study's results")
    parser.add_argument("--spec", required=True, help="JSON of gear.study.specs")
    parser.add_argument("--output", required=True, help="path without its ending")
    args = parser.parse_args(arguments)
    try:
        make(args.what, args.root, json.loads(args.spec), args.output)
    except Mistake as error:
        raise SystemExit(f"gear.report.make: {error}") from None


if __name__ == "__main__":
    main()
