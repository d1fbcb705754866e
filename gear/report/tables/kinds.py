"""The two kinds of tables: of metrics, and of settings."""

from gear.report.tables import configuration, table
from gear.report.tables.numbers import numbers


def forms(results, spec):
    """{ending: text} of a table of either kind."""
    module = configuration if spec.get("kind") == "configuration" else table
    return module.forms(results, spec)


def sheet(results, spec, spread):
    """A table of either kind as a Sheet; spread: see gear.report.tables.table.sheet."""
    if spec.get("kind") == "configuration":
        return configuration.sheet(spec)
    return table.sheet(spec, *numbers(results, spec), spread)
