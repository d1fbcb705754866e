# The features that scores are computed on. A stand-in is trained, Inception is imported. The public
# files are params, not inputs, so that Snakemake can plan on a machine without them.


if STUDY.spec["features"]["kind"] == "standin":

    rule train_features:
        input:
            DATA,
        output:
            weights=f"{R}/features/weights.safetensors",
            reference=f"{R}/features/reference.npz",
            record=f"{R}/features/run.json",
        log:
            f"{R}/features/log.txt",
        benchmark:
            f"{R}/features/benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "train_features"),
        params:
            cfg={"json": jobs.features(STUDY)},
        shell:
            "python -m gear.launch.warm gear.features.standin --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" --data {input:q} 2>&1 | tee {log:q}'

else:

    rule import_features:
        output:
            weights=f"{R}/features/weights.safetensors",
            reference=f"{R}/features/reference.npz",
            record=f"{R}/features/run.json",
        log:
            f"{R}/features/log.txt",
        benchmark:
            f"{R}/features/benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_features"),
        params:
            cfg={"json": jobs.features(STUDY)},
        shell:
            "python -m gear.launch.warm gear.evaluation.importing --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" 2>&1 | tee {log:q}'
