# Targets besides the tables and figures.


# These rules need only seconds, so they do not go through a cluster's queue.
localrules:
    all,
    all_tables,
    all_figures,
    quick,
    make_table,
    make_claims,
    make_figure,
    make_index,
    no_such_target,


rule all:
    default_target: True
    input:
        rules.all_tables.input,
        rules.all_figures.input,
        f"{R}/README.md",


# The overview page of the study's results.
rule make_index:
    input:
        rules.all_tables.input,
        rules.all_figures.input,
    output:
        f"{R}/README.md",
    log:
        f"{R}/log/index.txt",
    conda:
        CONDA
    params:
        cfg={"json": jobs.line(index_spec(STUDY)), "code": REPORT},
        root=lambda w: R,
    shell:
        "python -m gear.launch.warm gear.report.make index --spec {params.cfg[json]:q} "
        '--root {params.root:q} --output "$(dirname {output:q})"/README 2>&1 | tee {log:q}'


rule quick:
    input:
        f"{R}/tables/overview.md",
        f"{R}/figures/samples.png",


rule no_such_target:
    input:
        refuse,
    output:
        touch("{target}"),
    wildcard_constraints:
        target="[A-Za-z0-9_.@-]+",
