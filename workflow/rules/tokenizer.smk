# Stage 0: tokenizer pretraining.


rule train_tokenizer:
    input:
        previous=previous,
        data=DATA,
    output:
        multiext(
            f"{R}/tokenizer/{{run}}/{{step}}/", "weights.safetensors", "run.json", "curves.csv"
        ),
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
    log:
        f"{R}/tokenizer/{{run}}/log/{{step}}.txt",
    benchmark:
        f"{R}/tokenizer/{{run}}/{{step}}/benchmark.tsv"
    conda:
        CONDA
    shell:
        "python -m gear.start gear.tokenizer.train --job {params.cfg[json]:q} "
        "--name {wildcards.run}@{wildcards.step} --output $(dirname {output[0]}) 2>&1 | tee {log}"
