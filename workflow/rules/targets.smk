# What people ask for by name, besides each table and figure.


# Seconds of work on small files, so not worth a cluster's queue.
localrules:
    all,
    all_tables,
    all_figures,
    quick,
    make_table,
    make_claims,
    make_figure,
    no_such_target,


rule all:
    default_target: True
    input:
        rules.all_tables.input,
        rules.all_figures.input,


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
        target="[A-Za-z0-9_-]+",
