# Stage 1: tokenizer and AR together.


rule train_joint:
    input:
        previous=previous,
        tokenizer=initial,
        teacher=lambda w: teacher(w.run),
        data=lambda w: STUDY.manifest(w.run),
    output:
        weights=f"{R}/joint/{{run}}/{{step}}/weights.safetensors",
        record=f"{R}/joint/{{run}}/{{step}}/run.json",
        curves=f"{R}/joint/{{run}}/{{step}}/curves.csv",
    log:
        f"{R}/joint/{{run}}/log/{{step}}.txt",
    benchmark:
        f"{R}/joint/{{run}}/{{step}}/benchmark.tsv"
    conda:
        CONDA
    resources:
        **jobs.needs(STUDY, "train_joint"),
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
        tokenizer=initial_option,
    shell:
        LAUNCH + "gear.joint.train --job {params.cfg[json]:q} "
        '--name {wildcards.run}@{wildcards.step} --output "$(dirname {output.weights:q})" '
        "--data {input.data:q} "
        '--teacher "$(dirname {input.teacher:q})" {params.tokenizer} 2>&1 | tee {log:q}'
