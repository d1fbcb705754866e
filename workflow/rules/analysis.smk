# How alike a checkpoint's features and its teacher's are. The wildcard `checkpoint` is stage/run/step.

ANALYSED = jobs.analyses(STUDY)


def weights_to_analyse(w):
    """The weights of a checkpoint, of the tokenizer that it froze, and of its teacher."""
    run, _ = run_and_step(w)
    return list(dict.fromkeys([*weights_to_score(w), teacher(run)]))


if ANALYSED:

    rule analyse:
        input:
            weights_to_analyse,
            data=DATA,
        output:
            f"{R}/analysis/{{checkpoint}}.json",
        log:
            f"{R}/log/analysis/{{checkpoint}}.txt",
        benchmark:
            f"{R}/analysis/{{checkpoint}}.benchmark.tsv"
        wildcard_constraints:
            checkpoint="|".join(sorted(ANALYSED)).replace(".", "[.]"),
        conda:
            CONDA
        params:
            cfg=lambda w: {
                "json": jobs.analysis(STUDY, run_and_step(w)[0]),
                "code": ANALYSIS,
            },
            options=lambda w: jobs.analysis_options(STUDY, *run_and_step(w)),
        shell:
            "python -m gear.start gear.analysis.similarity --job {params.cfg[json]:q} "
            "{params.options} --data {input.data} --output {output} 2>&1 | tee {log}"
