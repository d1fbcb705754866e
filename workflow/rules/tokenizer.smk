# Stage 0: tokenizer pretraining.


rule train_tokenizer:
    input:
        previous=previous,
        data=DATA,
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
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
    shell:
        "python -m gear.start gear.tokenizer.train --job {params.cfg[json]:q} "
        "--name {wildcards.run}@{wildcards.step} --output $(dirname {output.weights}) "
        "--data {input.data} 2>&1 | tee {log}"
