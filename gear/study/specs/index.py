"""The spec of results/<study>/README.md: titles of tables and figures, and the claims."""


def index_spec(study):
    """Claims, tables with their first column, and figures, as data for JSON."""
    tables = [
        {
            "name": name,
            "title": spec["title"],
            "paper": spec["paper_table"],
            "column": spec["columns"][0],
            "rows": [row["row"] for row in spec["rows"] if "run" in row],
        }
        for name, spec in study.table_specs.items()
    ]
    figures = [
        {"name": name, "title": spec["title"], "paper": spec["paper_figure"]}
        for name, spec in study.figure_specs.items()
    ]
    claims = {claim["claim"]: claim["ours"] for claim in study.claims_spec["claims"]}
    head = {"study": study.name, "world": study.spec["title"]}
    return head | {"claims": claims, "tables": tables, "figures": figures}
