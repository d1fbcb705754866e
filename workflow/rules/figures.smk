# A target for each figure: `snakemake codebook` makes the figure and what it needs.


rule make_figure:
    input:
        lambda w: shown(FIGURES[w.figure]),
    output:
        multiext(
            f"{R}/figures/{{figure}}",
            ".pdf",
            ".png",
            ".csv",
            ".md",
        ),
        picture=report(
            f"{R}/figures/{{figure}}.svg",
            category="Figures",
            caption="../report/figure.rst",
            labels=lambda w: labels(FIGURES[w.figure], "Figure"),
        ),
    log:
        f"{R}/log/figures/{{figure}}.txt",
    wildcard_constraints:
        figure=one_of(FIGURES),
    conda:
        CONDA
    params:
        cfg=lambda w: {"json": jobs.line(FIGURES[w.figure]), "code": REPORT},
        root=lambda w: R,
        output=f"{R}/figures/{{figure}}",
    shell:
        "python -m gear.launch.warm gear.report.make figure --spec {params.cfg[json]:q} "
        "--root {params.root:q} --output {params.output:q} 2>&1 | tee {log:q}"


for figure in FIGURES:

    rule:
        name:
            figure
        input:
            multiext(f"{R}/figures/{figure}", ".svg", ".pdf", ".png", ".csv"),
        localrule: True


rule all_figures:
    input:
        expand(f"{R}/figures/{{figure}}.svg", figure=FIGURES),
