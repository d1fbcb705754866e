# Stage 2: a fresh AR on a frozen tokenizer.


rule train_ar:
    input:
        previous=previous,
        tokenizer=initial,
        teacher=lambda w: teacher(w.run),
        data=lambda w: STUDY.manifest(w.run),
    output:
        weights=f"{R}/ar/{{run}}/{{step}}/weights.safetensors",
        record=f"{R}/ar/{{run}}/{{step}}/run.json",
        curves=f"{R}/ar/{{run}}/{{step}}/curves.csv",
    log:
        f"{R}/ar/{{run}}/log/{{step}}.txt",
    benchmark:
        f"{R}/ar/{{run}}/{{step}}/benchmark.tsv"
    conda:
        CONDA
    resources:
        **jobs.needs(STUDY, "train_ar"),
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
        tokenizer=initial_option,
    shell:
        LAUNCH + "gear.ar.train --job {params.cfg[json]:q} "
        '--name {wildcards.run}@{wildcards.step} --output "$(dirname {output.weights:q})" '
        "--data {input.data:q} "
        '--teacher "$(dirname {input.teacher:q})" {params.tokenizer} 2>&1 | tee {log:q}'
