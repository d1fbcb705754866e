# Samples and scores of a checkpoint: one job for all in a small study, otherwise one job for each.
# The wildcard `checkpoint` is stage/run/step.

GROUPS = jobs.evaluation_groups(STUDY)
if not STUDY.spec["together"]:
    GROUPS = {(): [c for checkpoints in GROUPS.values() for c in checkpoints]}

# One rule for each set of samplers, because a rule's outputs cannot depend on its wildcards.
for samplers, checkpoints in GROUPS.items():

    rule:
        name:
            "_".join(("evaluate", *samplers)).replace(".", "").replace("-", "_")
        input:
            weights_to_score,
            features,
            data=lambda w: STUDY.manifest(at(w).run),
        output:
            f"{R}/metrics/{{checkpoint}}/validation.json",
            f"{R}/samples/{{checkpoint}}/pictures.npz",
            expand(f"{R}/metrics/{{{{checkpoint}}}}/{{s}}.json", s=samplers),
            expand(f"{R}/samples/{{{{checkpoint}}}}/{{s}}.npz", s=samplers),
        log:
            f"{R}/metrics/{{checkpoint}}/log.txt",
        benchmark:
            f"{R}/metrics/{{checkpoint}}/benchmark.tsv"
        wildcard_constraints:
            checkpoint=one_of(sorted(c.path for c in checkpoints)),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "evaluate"),
        params:
            cfg=evaluation(samplers),
            options=lambda w: jobs.evaluation_options(STUDY, at(w)),
        shell:
            "python -m gear.launch.warm gear.evaluation.checkpoint --job {params.cfg[json]:q} "
            "{params.options} --data {input.data:q} 2>&1 | tee {log:q}"


# The pictures of a figure, decoded from the scored samples.
rule decode_samples:
    input:
        lambda w: weights(decoder(w)),
        samples=f"{R}/samples/{{checkpoint}}/{{sampler}}.npz",
    output:
        f"{R}/samples/{{checkpoint}}/{{sampler}}.pictures.npz",
    log:
        f"{R}/samples/{{checkpoint}}/{{sampler}}.pictures.log.txt",
    benchmark:
        f"{R}/samples/{{checkpoint}}/{{sampler}}.pictures.benchmark.tsv"
    conda:
        CONDA
    resources:
        **jobs.needs(STUDY, "decode_samples"),
    params:
        cfg=lambda w: {
            "json": jobs.picking(STUDY, at(w).run),
            "code": coded(w, SCORES),
        },
        tokenizer=lambda w: STUDY.path(decoder(w)),
    shell:
        "python -m gear.launch.warm gear.evaluation.pictures --job {params.cfg[json]:q} "
        "--samples {input.samples:q} --tokenizer {params.tokenizer:q} "
        "--output {output:q} 2>&1 | tee {log:q}"


if not STUDY.spec["together"]:

    rule draw:
        input:
            weights_to_score,
            captions_to_draw,
        output:
            f"{R}/samples/{{checkpoint}}/{{sampler}}.npz",
        log:
            f"{R}/samples/{{checkpoint}}/{{sampler}}.log.txt",
        benchmark:
            f"{R}/samples/{{checkpoint}}/{{sampler}}.benchmark.tsv"
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "draw"),
        params:
            cfg=lambda w: {
                "json": jobs.drawing(STUDY, at(w).run, w.sampler),
                "code": coded(w, SAMPLES),
            },
            options=lambda w: jobs.drawing_options(STUDY, at(w)),
        shell:
            "python -m gear.launch.warm gear.sampling.generate --job {params.cfg[json]:q} "
            "{params.options} --output {output:q} 2>&1 | tee {log:q}"

    COCO = jobs.coco_samplers(STUDY)

    rule score:
        input:
            weights_to_score,
            features,
            samples=f"{R}/samples/{{checkpoint}}/{{sampler}}.npz",
        output:
            f"{R}/metrics/{{checkpoint}}/{{sampler}}.json",
        log:
            f"{R}/metrics/{{checkpoint}}/{{sampler}}.log.txt",
        benchmark:
            f"{R}/metrics/{{checkpoint}}/{{sampler}}.benchmark.tsv"
        wildcard_constraints:
            sampler=one_of(s for s in STUDY.spec["samplers"] if s not in COCO),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "score"),
        params:
            cfg=lambda w: {
                "json": jobs.scoring(STUDY, at(w).run),
                "code": coded(w, SCORES),
            },
            tokenizer=lambda w: STUDY.path(decoder(w)),
            features=lambda w: STUDY.features_of(at(w)),
        shell:
            "python -m gear.launch.warm gear.evaluation.score --job {params.cfg[json]:q} "
            "--samples {input.samples:q} --tokenizer {params.tokenizer:q} "
            "--features {params.features:q} --output {output:q} 2>&1 | tee {log:q}"

    if COCO:

        rule score_coco:
            input:
                lambda w: weights(decoder(w)),
                samples=f"{R}/samples/{{checkpoint}}/{{sampler}}.npz",
            output:
                f"{R}/metrics/{{checkpoint}}/{{sampler}}.json",
            log:
                f"{R}/metrics/{{checkpoint}}/{{sampler}}.log.txt",
            benchmark:
                f"{R}/metrics/{{checkpoint}}/{{sampler}}.benchmark.tsv"
            wildcard_constraints:
                sampler=one_of(COCO),
            conda:
                CONDA
            resources:
                **jobs.needs(STUDY, "score_coco"),
            params:
                cfg=lambda w: {
                    "json": jobs.scoring_coco(STUDY, at(w).run, w.sampler),
                    "code": coded(w, SCORES),
                },
                tokenizer=lambda w: STUDY.path(decoder(w)),
            shell:
                "python -m gear.launch.warm gear.evaluation.coco --job {params.cfg[json]:q} "
                "--samples {input.samples:q} --tokenizer {params.tokenizer:q} "
                "--output {output:q} 2>&1 | tee {log:q}"
