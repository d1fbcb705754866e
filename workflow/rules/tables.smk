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


# A page of claims is a table too; the class-conditional one is called claims.
rule make_claims:
    input:
        lambda w: shown(CLAIMS[w.claims]),
    output:
        multiext(f"{R}/tables/{{claims}}", ".csv", ".md", ".tex"),
        page=report(
            f"{R}/tables/{{claims}}.html",
            category="What reproduces and what does not",
            caption="../report/claims.rst",
            labels=lambda w: {"title": CLAIMS[w.claims]["title"], "in the paper": ""},
        ),
    log:
        f"{R}/log/tables/{{claims}}.txt",
    wildcard_constraints:
        claims=one_of(CLAIMS),
    conda:
        CONDA
    params:
        cfg=lambda w: {"json": jobs.line(CLAIMS[w.claims]), "code": REPORT},
        root=lambda w: R,
        output=f"{R}/tables/{{claims}}",
    shell:
        "python -m gear.launch.warm gear.report.make claims --spec {params.cfg[json]:q} "
        "--root {params.root:q} --output {params.output:q} 2>&1 | tee {log:q}"


for page in CLAIMS:

    rule:
        name:
            page
        input:
            multiext(f"{R}/tables/{page}", ".csv", ".md", ".tex"),
        localrule: True


rule all_tables:
    input:
        expand(f"{R}/tables/{{table}}.csv", table=TABLES),
        expand(f"{R}/tables/{{claims}}.csv", claims=CLAIMS),
