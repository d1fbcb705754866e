# A target for each table: `snakemake temperature` makes the table and what it needs.


rule make_table:
    input:
        lambda w: shown(TABLES[w.table]),
    output:
        multiext(f"{R}/tables/{{table}}", ".csv", ".md", ".tex"),
        page=report(
            f"{R}/tables/{{table}}.html",
            category="Tables",
            caption="../report/table.rst",
            labels=lambda w: labels(TABLES[w.table], "Table"),
        ),
    log:
        f"{R}/log/tables/{{table}}.txt",
    wildcard_constraints:
        table=one_of(TABLES),
    conda:
        CONDA
    params:
        cfg=lambda w: {"json": jobs.line(TABLES[w.table]), "code": REPORT},
        root=lambda w: R,
        output=f"{R}/tables/{{table}}",
    shell:
        "python -m gear.launch.warm gear.report.make table --spec {params.cfg[json]:q} "
        "--root {params.root:q} --output {params.output:q} 2>&1 | tee {log:q}"


for table in TABLES:

    rule:
        name:
            table
        input:
            multiext(f"{R}/tables/{table}", ".csv", ".md", ".tex"),
        localrule: True


rule make_claims:
    input:
        shown(CLAIMS),
    output:
        multiext(f"{R}/tables/claims", ".csv", ".md", ".tex"),
        page=report(
            f"{R}/tables/claims.html",
            category="What reproduces and what does not",
            caption="../report/claims.rst",
            labels={"title": "each claim with its criterion", "in the paper": ""},
        ),
    log:
        f"{R}/log/tables/claims.txt",
    conda:
        CONDA
    params:
        cfg={"json": jobs.line(CLAIMS), "code": REPORT},
        root=lambda w: R,
    shell:
        "python -m gear.launch.warm gear.report.make claims --spec {params.cfg[json]:q} "
        '--root {params.root:q} --output "$(dirname {output.page:q})"/claims 2>&1 | tee {log:q}'


rule claims:
    input:
        multiext(f"{R}/tables/claims", ".csv", ".md", ".tex"),
    localrule: True


rule all_tables:
    input:
        expand(f"{R}/tables/{{table}}.csv", table=TABLES),
        f"{R}/tables/claims.csv",
