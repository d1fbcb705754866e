# The images: they are made, or a folder of image files is listed and checked.


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
            folder=one_of(FOLDERS),
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
    # No param: a new number of the study must not list the folder, and train, again.
    FIT = fit.line(STUDY)

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
            counts=jobs.counts(STUDY),
        shell:
            "python -m gear.launch.warm gear.data.manifest --path {params.cfg[path]:q} "
            "--classes {params.cfg[classes]} {params.counts} --fit {FIT:q} "
            "--output {output.manifest:q} 2>&1 | tee {log:q}"
