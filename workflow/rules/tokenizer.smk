# Stage 0: tokenizer pretraining, in the paper study from public weights.


# The file of weights is a param: a plan resolves on a machine that has none of them.
if "public" in STUDY.spec:

    rule import_public:
        output:
            weights=f"{R}/public/{{quantizer}}/weights.safetensors",
            record=f"{R}/public/{{quantizer}}/run.json",
        log:
            f"{R}/public/{{quantizer}}/log.txt",
        benchmark:
            f"{R}/public/{{quantizer}}/benchmark.tsv"
        wildcard_constraints:
            quantizer=one_of(STUDY.spec["public"]),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_public"),
        params:
            cfg=lambda w: {"json": jobs.public(STUDY, w.quantizer)},
        shell:
            "python -m gear.launch.warm gear.weights.importing --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" 2>&1 | tee {log:q}'


rule train_tokenizer:
    input:
        previous=previous,
        tokenizer=initial,
        data=lambda w: STUDY.manifest(w.run),
    output:
        weights=f"{R}/tokenizer/{{run}}/{{step}}/weights.safetensors",
        record=f"{R}/tokenizer/{{run}}/{{step}}/run.json",
        curves=f"{R}/tokenizer/{{run}}/{{step}}/curves.csv",
    log:
        f"{R}/tokenizer/{{run}}/log/{{step}}.txt",
    benchmark:
        f"{R}/tokenizer/{{run}}/{{step}}/benchmark.tsv"
    conda:
        CONDA
    resources:
        **jobs.needs(STUDY, "train_tokenizer"),
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
        tokenizer=initial_option,
    shell:
        LAUNCH + "gear.tokenizer.train --job {params.cfg[json]:q} "
        '--name {wildcards.run}@{wildcards.step} --output "$(dirname {output.weights:q})" '
        "--data {input.data:q} {params.tokenizer} 2>&1 | tee {log:q}"
