# A study whose jobs train nothing, with the shapes of a real one: data, a training with a large and
# a small output, samples, a table.
from gear.study import jobs

R = "results/mini"
SETTING = config.get("setting", "1")


rule table:
    input:
        f"{R}/metrics/joint/a/400k/plain.json",
    output:
        f"{R}/tables/main.csv",
    shell:
        "cat {input} > {output}"


rule prepare_data:
    output:
        "data/{name}/manifest.json",
    shell:
        "mkdir -p data/{wildcards.name}/train; echo image > data/{wildcards.name}/train/1.png; "
        "echo 1 > {output}"


rule train:
    input:
        "data/mini/manifest.json",
    output:
        weights=f"{R}/joint/{{run}}/400k/weights.safetensors",
        record=f"{R}/joint/{{run}}/400k/run.json",
    log:
        f"{R}/joint/{{run}}/log/400k.txt",
    benchmark:
        f"{R}/joint/{{run}}/400k/benchmark.tsv"
    params:
        cfg={"setting": SETTING},
    shell:
        "(head -c 1500000 /dev/zero; echo {params.cfg[setting]}) > {output.weights}; "
        'echo \'{{"steps": 3}}\' > {output.record}; '
        f"mkdir -p {R}/joint/{{wildcards.run}}/state; "
        f"echo state {{params.cfg[setting]}} > {R}/joint/{{wildcards.run}}/state/3.pt"


rule evaluate:
    input:
        f"{R}/joint/{{run}}/400k/weights.safetensors",
    output:
        samples=f"{R}/samples/joint/{{run}}/400k/plain.npz",
        scores=f"{R}/metrics/joint/{{run}}/400k/plain.json",
    params:
        cfg={"json": "{}", "code": jobs.code("scores")},
    shell:
        "tail -c 2 {input} > {output.samples}; tail -c 2 {input} > {output.scores}"
