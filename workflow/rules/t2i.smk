# Text to image: captioned images in shards, a frozen text encoder, and a fresh AR on a frozen
# tokenizer.

CAPTIONS = f"{R}/captions/manifest.json"
ENCODER = [
    f"{R}/text_encoder/{file}"
    for file in (
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "run.json",
    )
]


if STUDY.captioned and STUDY.makes_data:

    rule make_shards:
        input:
            DATA,
        output:
            f"{STUDY.captioned.path}/manifest.json",
        log:
            f"{R}/log/shards.txt",
        benchmark:
            f"{R}/benchmark/shards.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "make_shards"),
        params:
            cfg={
                "seed": STUDY.spec.get("captions", {}).get("seed", 0),
                "pixels": STUDY.captioned.resolution,
            },
        shell:
            'python -m gear.launch.warm gear.data.captions --input "$(dirname {input:q})" '
            '--output "$(dirname {output:q})" --seed {params.cfg[seed]} '
            "--resolution {params.cfg[pixels]} 2>&1 | tee {log:q}"


if STUDY.captioned:

    # As for the list of a folder: a new number of the study must not train again.
    rule prepare_captions:
        input:
            rules.make_shards.output if STUDY.makes_data else [],
        output:
            manifest=CAPTIONS,
            train=f"{R}/captions/train.npy",
            val=f"{R}/captions/val.npy",
        log:
            f"{R}/log/captions.txt",
        benchmark:
            f"{R}/benchmark/captions.tsv"
        conda:
            CONDA
        threads: 8
        resources:
            **jobs.needs(STUDY, "prepare_captions"),
        params:
            path=lambda w: STUDY.captioned.path,
            counts=jobs.captions(STUDY),
        shell:
            "python -m gear.launch.warm gear.data.shards --path {params.path:q} {params.counts} "
            "--output {output.manifest:q} 2>&1 | tee {log:q}"


if jobs.encoder_kind(STUDY) == "standin":

    rule make_text_encoder:
        input:
            CAPTIONS,
        output:
            ENCODER,
        log:
            f"{R}/text_encoder/log.txt",
        benchmark:
            f"{R}/text_encoder/benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "make_text_encoder"),
        params:
            cfg={"json": jobs.text_encoder(STUDY)},
            output=lambda w: f"{R}/text_encoder",
        shell:
            "python -m gear.launch.warm gear.t2i.text_standin --job {params.cfg[json]:q} "
            "--data {input:q} --output {params.output:q} 2>&1 | tee {log:q}"


if jobs.encoder_kind(STUDY) == "pretrained":

    rule import_text_encoder:
        output:
            ENCODER,
        log:
            f"{R}/text_encoder/log.txt",
        benchmark:
            f"{R}/text_encoder/benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_text_encoder"),
        params:
            cfg={"json": jobs.text_encoder(STUDY)},
            output=lambda w: f"{R}/text_encoder",
        shell:
            "python -m gear.launch.warm gear.t2i.text_import --job {params.cfg[json]:q} "
            "--output {params.output:q} 2>&1 | tee {log:q}"


if STUDY.captioned and "text_features" in STUDY.spec:

    rule import_text_features:
        output:
            weights=f"{R}/text_features/weights.safetensors",
            reference=f"{R}/text_features/reference.npz",
            record=f"{R}/text_features/run.json",
        log:
            f"{R}/text_features/log.txt",
        benchmark:
            f"{R}/text_features/benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_text_features"),
        params:
            cfg={"json": jobs.text_features(STUDY)},
        shell:
            "python -m gear.launch.warm gear.evaluation.importing --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" 2>&1 | tee {log:q}'


rule train_t2i:
    input:
        ENCODER,
        previous=previous,
        tokenizer=initial,
        teacher=lambda w: teacher(w.run),
        data=CAPTIONS,
    output:
        weights=f"{R}/t2i/{{run}}/{{step}}/weights.safetensors",
        record=f"{R}/t2i/{{run}}/{{step}}/run.json",
        curves=f"{R}/t2i/{{run}}/{{step}}/curves.csv",
    log:
        f"{R}/t2i/{{run}}/log/{{step}}.txt",
    benchmark:
        f"{R}/t2i/{{run}}/{{step}}/benchmark.tsv"
    conda:
        CONDA
    resources:
        **jobs.needs(STUDY, "train_t2i"),
    params:
        cfg=lambda w: {"json": jobs.training(STUDY, w.run, w.step)},
        tokenizer=initial_option,
        encoder=lambda w: f"{R}/text_encoder",
    shell:
        LAUNCH + "gear.t2i.train --job {params.cfg[json]:q} "
        '--name {wildcards.run}@{wildcards.step} --output "$(dirname {output.weights:q})" '
        "--data {input.data:q} --encoder {params.encoder:q} "
        '--teacher "$(dirname {input.teacher:q})" {params.tokenizer} 2>&1 | tee {log:q}'
