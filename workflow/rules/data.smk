# The images, the teacher that the AR aligns to, and the features that scores are measured in.


if STUDY.makes_data:
    FOLDERS = jobs.made_images(STUDY)

    rule prepare_data:
        output:
            "{folder}/manifest.json",
        log:
            f"{R}/log/{{folder}}.txt",
        benchmark:
            f"{R}/benchmark/{{folder}}.tsv"
        wildcard_constraints:
            folder="|".join(map(re.escape, FOLDERS)),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "prepare_data"),
        params:
            cfg=lambda w: STUDY.spec["data"] | {"size": FOLDERS[w.folder]},
        shell:
            'python -m gear.launch.warm gear.data.digits --output "$(dirname {output:q})" '
            "--size {params.cfg[size]} --train {params.cfg[train]} --val {params.cfg[val]} "
            "--seed {params.cfg[seed]} 2>&1 | tee {log:q}"

else:

    rule prepare_data:
        output:
            manifest=DATA,
            listing=f"{R}/data/files.txt.gz",
        log:
            f"{R}/log/data.txt",
        benchmark:
            f"{R}/benchmark/data.tsv"
        conda:
            CONDA
        threads: 8
        resources:
            **jobs.needs(STUDY, "prepare_data"),
        params:
            cfg={"path": STUDY.data.path, "classes": STUDY.data.classes},
            counts=" ".join(
                f"--{split} {STUDY.spec['data'][split]}"
                for split in ("train", "val")
                if split in STUDY.spec["data"]
            ),
        shell:
            "python -m gear.launch.warm gear.data.imagenet --path {params.cfg[path]:q} "
            "--classes {params.cfg[classes]} {params.counts} --output {output.manifest:q} "
            "2>&1 | tee {log:q}"


# A study's stand-ins are trained, its pretrained teachers imported; either way the files are the same.
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
            teacher="|".join(TEACHERS["standin"]).replace(".", "[.]"),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "train_teacher"),
        params:
            cfg=lambda w: {"json": jobs.teacher(STUDY, w.teacher)},
        shell:
            "python -m gear.launch.warm gear.alignment.teachers.standin --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" --data {input:q} 2>&1 | tee {log:q}'


# The public file is a param: a plan resolves on a machine that has none of them.
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
            teacher="|".join(TEACHERS["pretrained"]).replace(".", "[.]"),
        conda:
            CONDA
        resources:
            **jobs.needs(STUDY, "import_teacher"),
        params:
            cfg=lambda w: {"json": jobs.teacher(STUDY, w.teacher)},
        shell:
            "python -m gear.launch.warm gear.alignment.teachers.pretrained --job {params.cfg[json]:q} "
            '--output "$(dirname {output.weights:q})" 2>&1 | tee {log:q}'


# A stand-in is trained, Inception imported; the public files are params here too.
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
