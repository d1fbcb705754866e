"""The `gear` command."""

import argparse

from gear.report.compare import compare


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="gear", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("compare", help="compare two results folders, cell by cell")
    command.add_argument("ours", help="such as reproduced/demo")
    command.add_argument("theirs", help="such as results/demo")
    command.add_argument("--strict", action="store_true", help="fail where a cell is different")
    args = parser.parse_args(arguments)
    try:
        return compare(args.ours, args.theirs, args.strict)
    except ValueError as error:
        raise SystemExit(f"gear: {error}") from None
