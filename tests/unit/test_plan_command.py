"""gear plan: what it prints."""

import json
import re

import pytest

from gear.cli import main as cli
from gear.plan import report
from gear.study.stages import STAGES

approx = pytest.approx


def test_json(capsys):
    cli.main(["plan", "--study", "smoke", "--json", "--tflops", "0.5"])
    found = json.loads(capsys.readouterr().out)
    assert found["study"] == "smoke" and found["total"]["runs"] == len(found["runs"])
    for key in ("steps", "images", "flops"):
        stages = [found["stages"][s][key] for s in STAGES]
        assert found["total"][key] == sum(stages) == sum(e[key] for e in found["runs"])
    assert found["budget"]["training"]["hours"] == approx(found["total"]["flops"] / 0.5e12 / 3600)
    vq = next(e for e in found["runs"] if e["run"] == "vq")
    assert vq["made_of"]["discriminator"] == "6 x discriminator"
    assert vq["parts"]["tokenizer"] == 3 * vq["forward"]["tokenizer"]


def test_the_answer_comes_first(capsys, tmp_path):
    options = ["--target", "components", "--device", "cpu-core", "--results", str(tmp_path)]
    cli.main(["plan", "--study", "demo", *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("target components of study demo: ")
    assert lines[1] == "still to make, in hours of one core of an AMD EPYC:"
    total, training, drawing = (
        float(re.search(rf"  {name}: (\d+\.\d\d) device-hours", line)[1])
        for name, line in zip(("total", "training", "drawing"), lines[2:5], strict=True)
    )
    assert total == approx(training + drawing, abs=0.011)
    assert lines[5].startswith("  longest chain of jobs: ")
    assert lines[8].startswith("    vq@400k > gear-l")
    assert any(line.startswith("disk of the whole target: ") for line in lines)
    assert lines[-1] == "parameters, steps and FLOPs of each run: add --details"
    assert not any(line.startswith("gear-l ") for line in lines)


def test_the_answer_says_how_many_gpus_a_job_has(capsys):
    cli.main(["plan", "--study", "paper", "--target", "temperature", "--tflops", "400"])
    text = capsys.readouterr().out
    assert "    GPUs of one job: tokenizer 8, joint 8, draw 1; perfect scaling is assumed" in text
    assert re.search(r"  total: \d+\.\d\d GPU-hours, without drawing\n", text)


@pytest.mark.parametrize(
    "study, cure",
    [
        ("demo", "the TFLOP/s that one GPU sustains), or --device NAME (measured in this study: "),
        ("smoke", "hours: add --tflops NUMBER (the TFLOP/s that one GPU sustains)\n"),
    ],
)
def test_without_a_rate_the_answer_says_how_to_get_hours(study, cure, capsys):
    cli.main(["plan", "--study", study, "--target", "components"])
    text = capsys.readouterr().out
    assert cure in text and "disk of the whole target: " in text


def test_details_list_each_run(capsys):
    cli.main(["plan", "--study", "smoke", "--details"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("target all of study smoke: ")
    assert sum(line.startswith("gear-l-frozen ") for line in lines) == 2  # sizes, FLOPs
    assert any(line.startswith("training of the whole target: ") for line in lines)
    assert "  gan = 2 x discriminator" in lines


def test_the_resources_are_those_of_the_study_file(paper, capsys):
    assert cli.main(["plan", "--study", "paper", "--resources"]) is None
    head, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["rule", "nodes", "GPUs", "cores", "MB", "minutes"]
    asked = paper.spec["jobs"]
    assert {rule: list(map(int, numbers)) for rule, *numbers in lines} == {
        rule: [1, job.get("gpus", 0), job["cpus"], 1000 * job["mem_gb"], job["minutes"]]
        for rule, job in asked.items()
    }


@pytest.mark.parametrize(
    "options, message",
    [
        (["--study", "papr"], "gear: there is no study 'papr'. Did you mean 'paper'?"),
        (["--study", "smoke", "--tflops", "0"], "gear: --tflops is 0.0; write the TFLOP/s"),
        (["--study", "smoke", "--tflops", "1e-320"], "gear: --tflops is 1e-320; write the TFLOP/s"),
        (["--study", "smoke", "--wait", "-1"], "gear: --wait is -1.0; write minutes"),
        (["--study", "smoke", "--wait", "5"], "gear: --wait is a part of the queue; add --device"),
        (["--study", "paper", "--target", "temprature"], "gear: study 'paper' has no target"),
        (["--study", "demo", "--device", "cpu-cor"], "gear: no device 'cpu-cor' was measured."),
        (["--study", "smoke", "--device", "cpu-core"], "gear: device 'cpu-core' was not measured"),
        (
            ["--study", "demo", "--device", "cpu-core", "--tflops", "1"],
            "gear: --device has its own TFLOP/s; leave out --tflops.",
        ),
    ],
)
def test_mistakes_are_one_sentence(options, message):
    with pytest.raises(SystemExit) as error:
        cli.main(["plan", *options])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (7, "7"), (999, "999"), (1000, "1 k"), (2_056_000_000, "2.056 G")],
)  # fmt: skip
def test_prefixes(value, text):
    assert report.si(value) == text
