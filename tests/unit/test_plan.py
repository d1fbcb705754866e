"""gear plan: the published sizes and FLOPs, and steps that were really counted.

Counts are compared with published ones and with FlopCounterMode on real steps, hours and disk space
with sums worked by hand.
"""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gear.plan import budget, costs, pieces, report
from gear.plan.targets import wanted
from gear.study.registry import Study
from gear.study.stages import STAGES

approx = pytest.approx

# GFLOPs of a forward pass at 256 pixels, as counted on the published networks
FORWARD = {
    "vq": {"encode": 138.4, "decode": 252.7},
    "lfq": {"encode": 266.2, "decode": 317.1},
    "ibq": {"encode": 265.4, "decode": 379.7},
    "gear-b": {"ar": 52.3, "ar_to_tap": 15.3, "readout": 6.4},
    "gear-l": {"ar": 172.9, "ar_to_tap": 54.8, "readout": 8.6, "discriminator": 6.3},
    "gear-xl": {"ar": 397.3, "ar_to_tap": 128.8, "readout": 10.7, "vgg16": 40.1, "teacher": 46.3},
}
# GFLOPs of a joint step, per image, by part and in total
PARTS = {"teacher": 46, "tokenizer": 1173, "lpips": 120, "gan": 13, "discriminator": 38}
STEP = {
    "gear-b": PARTS | {"guidance": 38 + 12.8, "ar": 168},
    "gear-l": PARTS | {"guidance": 118 + 17.1, "ar": 531},
    "gear-xl": PARTS | {"guidance": 266 + 21.4, "ar": 1205},
}
TOTAL = {"gear-b": 1609, "gear-l": 2056, "gear-xl": 2883}
PARAMETERS = {
    "vq": {"tokenizer": 71_883_403, "discriminator": 2_765_633},
    "lfq": {"tokenizer": 115_094_033, "discriminator": 2_765_633},
    "ibq": {"tokenizer": 110_982_019, "discriminator": 2_765_633},
    "gear-b": {"ar": 110_888_448, "projector": 7_344_896},
    "gear-l": {"ar": 342_910_976, "projector": 7_869_184},
    "gear-xl": {"ar": 774_699_520, "projector": 8_393_472, "tokenizer": 71_883_403},
    "gear-l-ibq": {"tokenizer": 110_982_019},
    "llamagen-repa-xl": {"ar": 774_699_520},
}


@pytest.fixture(scope="module")
def plan(paper):
    return report.gather(paper)


@pytest.fixture(scope="module")
def by_run(plan):
    return {found["run"]: found for found in plan["runs"]}


# the published networks


@pytest.mark.parametrize("run", FORWARD)
def test_forward_passes_are_the_published_ones(paper, run):
    counted = {}
    for network in costs.networks_of(paper.runs[run], paper).values():
        counted |= network.flops
    for piece, giga in FORWARD[run].items():
        assert counted[piece] / 1e9 == approx(giga, rel=0.02), piece


@pytest.mark.parametrize("run", STEP)
def test_a_joint_step_takes_what_the_published_one_takes(by_run, run):
    found = by_run[run]
    assert {k: v / 1e9 for k, v in found["parts"].items()} == approx(STEP[run], rel=1e-3, abs=0.6)
    assert found["flops_per_image"] / 1e9 == approx(TOTAL[run], rel=0.001)


@pytest.mark.parametrize("run", PARAMETERS)
def test_parameters_are_the_published_ones(by_run, run):
    found = by_run[run]["parameters"]
    assert {part: found[part] for part in PARAMETERS[run]} == PARAMETERS[run]
    parts = [v for k, v in found.items() if k not in ("trained", "frozen")]
    assert found["trained"] == sum(parts)


def test_frozen_networks_are_not_trained(by_run):
    assert set(by_run["llamagen-repa-l"]["parameters"]["frozen"]) == {"tokenizer", "teacher"}
    assert set(by_run["gear-l"]["parameters"]["frozen"]) == {"vgg16", "teacher"}
    assert by_run["gear-l-no-gan"]["parameters"].get("discriminator") is None


def test_schedules_are_the_published_ones(plan, by_run):
    joint, fresh = by_run["gear-l"], by_run["gear-xl-frozen"]
    assert joint["milestones"] == {"100k": 100_000, "400k": 400_000}
    assert (joint["batch"], joint["steps"], joint["images"]) == (256, 400_000, 102_400_000)
    assert joint["flops"] == 102_400_000 * joint["flops_per_image"]
    assert list(fresh["milestones"].values()) == [100_000, 400_000, 1_500_000, 4_000_000]
    assert fresh["images"] == 1_024_000_000 and fresh["tokenizer"] == "gear-xl@400k"
    assert by_run["gear-l-dinov3"]["milestones"] == {"100k": 100_000}


def test_every_run_of_the_paper_is_listed_once(plan, paper):
    runs = [found["run"] for found in plan["runs"]]
    assert sorted(runs + plan["not_asked_for"]) == sorted(paper.runs)
    assert sum(found["published"] for found in plan["runs"]) >= 40
    assert plan["not_asked_for"] == ["vq-lpips1"]  # in no table, to decide about LPIPS


def test_more_pixels_take_more(by_run):
    low, high = by_run["gear-l"], by_run["gear-l-res512"]
    assert low["forward"]["readout"] == 2 * 255 * 16384 * 1024  # of all tokens but the last
    assert high["forward"]["readout"] == 2 * 1023 * 16384 * 1024
    assert high["forward"]["vgg16"] == approx(4 * low["forward"]["vgg16"])
    assert high["forward"]["projector"] == 4 * low["forward"]["projector"]
    assert 4 < high["forward"]["ar"] / low["forward"]["ar"] < 5  # attention grows with the square


@pytest.mark.parametrize("run", ["gear-l-vjepa2", "llamagen-repa-l-vjepa2"])
def test_the_runs_with_v_jepa_are_costed(plan, by_run, run):
    """Both rows of Table 10: its parameters as published, its products counted by hand."""
    found, tokens, width = by_run[run], 256, 768
    assert found["parameters"]["frozen"]["teacher"] == 86_833_152
    linear, attention = 12 * tokens * width**2, 2 * tokens**2 * width
    patches = tokens * 3 * 16**2 * width
    assert found["forward"]["teacher"] == 2 * (12 * (linear + attention) + patches)
    assert (found["steps"], found["published"]) == (100_000, True)
    assert found["flops"] == 256 * 100_000 * found["flops_per_image"]


# the composition of a step, against real steps

GUIDED = ("gear-l", "gear-l-ste-align", "gear-l-ste", "gear-l-soft-ntp-target")
STEPS = ("vq", "ibq", "gear-l-no-gan", "gear-l-control", "llamagen-repa-l", *GUIDED)
# Wide enough that products of weights outweigh attention, whose backward pass costs more.
WIDE = {"tokenizer.codebook_size": 256, "ar.dim": 64, "align.projector_dim": 128, "optim.batch": 2}


@pytest.fixture
def every_product():
    """The teacher's fused layer of the CPU would hide its products from the counter."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def counted_step(tiny_networks, random_images, settings, stage):
    """FLOPs of one image in a real optimizer step."""
    trainer = tiny_networks.trainer(stage, settings)
    with FlopCounterMode(display=False) as counter:
        trainer.step(random_images(settings).batch(0), 0)
    return counter.get_total_flops() / settings.optim.batch


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_composed_as_it_is_run(
    smoke, smoke_settings, tiny_networks, random_images, every_product, name
):
    run, settings = smoke.runs[name], smoke_settings(name, **WIDE)
    planned = costs.cost(_with(run, settings), smoke)["flops_per_image"]
    assert counted_step(tiny_networks, random_images, settings, run.stage) == approx(
        planned, rel=0.01
    )


@pytest.mark.parametrize("losses", [["align"], ["ntp"], ["align", "ntp"]])
@pytest.mark.parametrize("path", ["input", "target", "both"])
def test_the_guidance_is_composed_as_it_is_run(
    smoke_settings, tiny_networks, random_images, every_product, losses, path
):
    settings = smoke_settings(**WIDE, **{"joint.tokenizer_losses": losses, "joint.ntp_path": path})
    own = counted_step(tiny_networks, random_images, settings, "joint")
    without = counted_step(
        tiny_networks, random_images, smoke_settings("gear-l-control", **WIDE), "joint"
    )
    ar = pieces.ar(settings.ar, 256, 10, 4, settings.align.layer)
    project = pieces.project(64, settings.align.projector_dim, 16, 16)
    counted = ar.flops | project.flops
    parts = costs.of_guidance(settings.joint)
    planned = sum(times * counted[piece] for piece, times in parts.items())
    assert own - without == approx(planned, rel=0.03)


def _with(run, settings):
    return type(run)(**{**vars(run), "settings": settings})


def test_standin_teachers_are_counted_in_full(
    smoke, smoke_settings, tiny_networks, random_images, every_product
):
    settings = smoke_settings()
    with FlopCounterMode(display=False) as counter:
        tiny_networks.teacher(settings)(random_images(settings).batch(0).images)
    spec = smoke.spec["teachers"]["dinov2"]
    found = costs.teacher(spec, settings.data, 4)
    assert counter.get_total_flops() == settings.optim.batch * found.flops["teacher"]


def test_equal_networks_are_counted_once(paper):
    a, b = paper.runs["gear-l"].settings, paper.runs["gear-l-ste"].settings
    assert pieces.ar(a.ar, 16384, 1000, 16, 8) is pieces.ar(b.ar, 16384, 1000, 16, 8)


# which runs, and what is there already


def test_the_demo_plans_exactly_what_is_published():
    study = Study("demo")
    last = wanted(study).runs
    planned = {
        f"{study.runs[name].stage}/{name}/{step}"
        for name, end in last.items()
        for step in list(study.runs[name].steps)[: list(study.runs[name].steps).index(end) + 1]
    }
    root = Path(__file__).parents[2] / "results/demo"
    made = {
        path.parent.relative_to(root).as_posix()
        for stage in STAGES
        for path in (root / stage).glob("*/*/run.json")
    }
    assert planned == made and made


def test_a_figure_asks_for_its_runs_and_their_tokenizers(edited_config):
    edited_config(
        "studies/smoke.yaml",
        "tables: [overview, system, components, quantizer, similarity, control, gpic, "
        "t2i_configuration, t2i_control]",
        "tables: []",
    )
    edited_config("studies/smoke.yaml", "figures: [samples, codebook, ", "figures: [codebook] # ")
    folder = edited_config("figures.yaml", "w/ STE: gear-l-ste}", "LFQ: gear-l-lfq}")
    with pytest.raises(ValueError, match="gear-l-lfq starts from .*lfq.*; leave `start` out, or"):
        Study("smoke", folder=folder)
    folder = edited_config("figures.yaml", "  start: LlamaGen", "  # start: LlamaGen")
    assert wanted(Study("smoke", folder=folder)).runs == dict.fromkeys(
        ("vq", "lfq", "gear-l", "gear-l-lfq", "gear-l-control"), "400k"
    )


def test_finished_milestones_are_marked(tmp_path):
    folder = tmp_path / "smoke/ar/gear-l-frozen/1500k"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    plan = report.gather(Study("smoke", str(tmp_path)))
    finished = {found["run"]: found["finished"] for found in plan["runs"] if found["finished"]}
    assert finished == {"gear-l-frozen": ["1500k"]}
    assert any("1500k*" in line for line in report.text(plan, with_details=True))


# one target, in hours, disk and queue


def test_a_target_needs_its_rows_and_their_tokenizers(paper):
    found = wanted(paper, "temperature")
    taus = [f"gear-l-tau{tau}" for tau in ("0.005", "0.01", "0.05", "0.5")]
    assert set(found.runs) == {"vq", "gear-l", *taus}
    assert set(found.runs.values()) == {"400k"}
    joint = {paper.checkpoint(run, "400k") for run in ("gear-l", *taus)}
    assert set(found.of("samples")) == {f"samples/{each.path}/plain.npz" for each in joint}
    assert {need.checkpoint for need in found.of("validation", "pictures")} == joint
    assert wanted(paper, "depth_similarity").of("analysis") and not found.of("analysis")


RATES = {"tokenizer": 200.0, "joint": 300.0, "ar": 400.0, "t2i": 400.0, "draw": 20.0}


def budget_of(study, target):
    found = wanted(study, target)
    entries = [report.entry(study.runs[name], step, study) for name, step in found.runs.items()]
    return budget.Budget(study, entries, found, RATES), {e["run"]: e for e in entries}


def test_hours_are_flops_over_throughput(paper):
    made, entries = budget_of(paper, "temperature")
    left = {str(checkpoint): hours for checkpoint, hours in made.segments().items()}
    for name, rate in (("vq", 200e12), ("gear-l", 300e12)):
        hours = sum(h for checkpoint, h in left.items() if checkpoint.split("@")[0] == name)
        assert hours == approx(entries[name]["flops"] / rate / 3600)
    assert left["gear-l@400k"] == approx(3 * left["gear-l@100k"])
    samples = "samples/joint/gear-l/400k/plain.npz"
    drawn = made.drawings()[samples]
    assert drawn == approx(50_000 * 172.9e9 / 20e12 / 3600, rel=0.02)
    guided, _ = budget_of(paper, "guidance")
    assert guided.drawings()[samples.replace("plain", "cfg")] == approx(2 * drawn)


def test_the_longest_chain_is_what_waits_for_each_other(paper):
    made, _ = budget_of(paper, "temperature")
    found, later = made.queue(), made.queue(wait=60)
    left = {str(checkpoint): hours for checkpoint, hours in made.segments().items()}
    walls = [left[name] for name in ("vq@400k", "gear-l@100k", "gear-l@400k")]
    draw = made.drawings()["samples/joint/gear-l/400k/plain.npz"]
    train = sum(walls)
    assert found["hours"] == approx(train / 8 + draw)  # eight GPUs a training, one a drawing
    assert len(found["chain"]) == 4 and found["chain"][0] == "vq@400k"
    # 1 + 2 x 5 trainings; 5 drawings and scores; 5 validations
    assert found["jobs"] == 26
    starts = [-(-60 * wall / 8 // 1435) for wall in walls]
    assert later["hours"] == approx(found["hours"] + sum(starts) + 1)


def test_every_job_of_the_snapshot_is_counted(paper):
    """tests/smoke/paper_jobs.txt is what Snakemake plans for all_tables of the paper's study."""
    text = (Path(__file__).parents[1] / "smoke/paper_jobs.txt").read_text()
    rules = "train_tokenizer train_joint train_ar train_t2i draw score score_coco evaluate analyse"
    listed = [line.split()[:2] for line in text.splitlines()]
    made, _ = budget_of(paper, "all_tables")
    assert made.queue()["jobs"] == sum(int(n) for n, rule in listed if rule in rules.split())


def test_what_is_finished_costs_no_hours(tmp_path):
    folder = tmp_path / "smoke/joint/gear-l/400k"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    whole, _ = budget_of(Study("smoke", str(tmp_path / "none")), "components")
    rest, _ = budget_of(Study("smoke", str(tmp_path)), "components")
    joint = rest.study.checkpoint("gear-l", "400k")
    assert rest.segments()[joint] == 0 < whole.segments()[joint]
    assert rest.queue()["jobs"] == whole.queue()["jobs"] - 1


def test_what_was_saved_is_not_left(tmp_path):
    """The records of results/demo are in git, its weights and samples are not."""
    saved, _ = budget_of(Study("demo"), "all")
    nothing, _ = budget_of(Study("demo", str(tmp_path)), "all")
    assert saved.queue()["jobs"] == 0 < nothing.queue()["jobs"]
    assert saved.disk(left=True) == dict.fromkeys(saved.disk(), 0)
