# The teachers that the AR aligns to. Stand-ins are trained, pretrained teachers are imported. Both
# have the same files.


if TEACHERS["standin"]:

    rule train_teacher:
        input:
            DATA,
        output:
            weights=f"{R}/teacher/{{teacher}}/weights.safetensors",
            record=f"{R}/teacher/{{teacher}}/run.json",
        log:
            f"{R}/teacher/{{teacher}}/log.txt",
        benchmark:
            f"{R}/teacher/{{teacher}}/benchmark.tsv"
        wildcard_constraints:
            teacher=one_of(TEACHERS["standin"]),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "train_teacher"),
        params:
            cfg=lambda w: {"json": jobs.teacher(STUDY, w.teacher)},
        shell:
            "python -m gear.launch.warm gear.alignment.teachers.standin --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" --data {input:q} 2>&1 | tee {log:q}'


# The public file is a param, not an input, so that Snakemake can plan on a machine without it.
if TEACHERS["pretrained"]:

    rule import_teacher:
        output:
            weights=f"{R}/teacher/{{teacher}}/weights.safetensors",
            record=f"{R}/teacher/{{teacher}}/run.json",
        log:
            f"{R}/teacher/{{teacher}}/log.txt",
        benchmark:
            f"{R}/teacher/{{teacher}}/benchmark.tsv"
        wildcard_constraints:
            teacher=one_of(TEACHERS["pretrained"]),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_teacher"),
        params:
            cfg=lambda w: {"json": jobs.teacher(STUDY, w.teacher)},
        shell:
            "python -m gear.launch.warm gear.alignment.teachers.pretrained --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" 2>&1 | tee {log:q}'
