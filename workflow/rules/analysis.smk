# The similarity of a checkpoint's features and those of its teacher. The wildcard `checkpoint` is stage/run/step.

ANALYSED = jobs.analyses(STUDY)


if ANALYSED:

    rule analyse:
        input:
            weights_to_compare,
            data=DATA,
        output:
            f"{R}/analysis/{{checkpoint}}.json",
        log:
            f"{R}/log/analysis/{{checkpoint}}.txt",
        benchmark:
            f"{R}/analysis/{{checkpoint}}.benchmark.tsv"
        wildcard_constraints:
            checkpoint=one_of(sorted(c.path for c in ANALYSED)),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "analyse"),
        params:
            cfg=lambda w: {
                "json": jobs.analysis(STUDY, at(w).run),
                "code": ANALYSES,
            },
            options=lambda w: jobs.analysis_options(STUDY, at(w)),
        shell:
            "python -m gear.launch.warm gear.analysis.similarity --job {params.cfg[json]:q} "
            "{params.options} --data {input.data:q} --output {output:q} 2>&1 | tee {log:q}"
