"""The spec of results/<study>/README.md: titles of tables and figures, and the claims."""


def _headline(spec):
    """What a table's line shows: its first column, or how many settings are the paper's."""
    if spec.get("kind") == "configuration":
        same, printed = spec["same"], spec["printed"]
        return {"said": f"{same} of {printed} settings are the paper's" if printed else ""}
    rows = [row["row"] for row in spec["rows"] if "run" in row]
    first = next((c for c in spec["columns"] if c.get("measured", True)), spec["columns"][0])
    return {"column": first, "rows": rows}


def index_spec(study):
    """Claims, tables with their first column, and figures, as data for JSON."""
    tables = [
        {
            "name": name,
            "title": spec["title"],
            "paper": spec["paper_table"],
            **_headline(spec),
        }
        for name, spec in study.table_specs.items()
    ]
    figures = [
        {"name": name, "title": spec["title"], "paper": spec["paper_figure"]}
        for name, spec in study.figure_specs.items()
    ]
    claims = {
        page: {claim["claim"]: claim["ours"] for claim in spec["claims"]}
        for page, spec in study.claims_specs.items()
    }
    head = {"study": study.name, "world": study.spec["title"]}
    return head | {"claims": claims, "tables": tables, "figures": figures}
