"""The registry: every run of every study resolves, one line is one experiment and nothing else.

Runs are compared with their parents' settings and with the lists of the study file.
"""

import pytest

from gear import config
from gear.study import jobs
from gear.study.needs import Checkpoint
from gear.study.registry import Study, studies
from gear.study.specs.tables import inputs
from gear.study.stages import STAGES

GEAR_B = "gear-b:            {from: gear-l, ar.size: b}"


def every_job(study):
    return {
        (name, step): jobs.training(study, name, step)
        for name, run in study.runs.items()
        for step in run.steps
    }


# what is there


@pytest.mark.parametrize("name", studies())
def test_every_run_of_every_study_is_at_home_in_it(name):
    study = Study(name)
    for run in study.runs.values():
        assert list(run.steps) and sorted(run.steps.values()) == list(run.steps.values())
        shape = study.spec["sizes"][run.settings.ar.size]
        ar = run.settings.ar
        assert (ar.layers, ar.dim, ar.heads) == (shape["layers"], shape["dim"], shape["heads"])
        assert run.settings.align.layer == shape["depth"][run.settings.align.depth]
        quantizer = study.spec["quantizers"][run.settings.tokenizer.quantizer]
        mine = config.flatten({"tokenizer": vars(run.settings.tokenizer)})
        assert {k: mine[k] for k in quantizer} == quantizer
        if run.tokenizer:  # the same network as the one that it starts from or freezes
            assert study.runs[run.tokenizer.run].settings.tokenizer == run.settings.tokenizer


def test_the_paper_has_forty_two_trainings(paper):
    published = [run for run in paper.runs.values() if run.published]
    again = [run for run in published if run.name.endswith("-tokenizer")]
    assert len(again) == 3  # Table 6 by the other reading of lambda
    assert len(published) == 42 + len(again)
    by_stage = {s: sum(r.stage == s for r in published if r not in again) for s in STAGES}
    assert by_stage == {"tokenizer": 3, "joint": 22, "ar": 15, "t2i": 2}
    assert {run.name for run in published if run.name.startswith("gear-l-control")} == set()


def test_a_child_changes_its_parent_in_what_its_line_says(paper):
    def difference(run, parent):
        mine = config.difference(paper.runs[run].settings)
        theirs = config.difference(paper.runs[parent].settings)
        return {k: v for k, v in mine.items() if theirs.get(k) != v}

    assert difference("gear-l-tau0.5", "gear-l") == {"joint.temperature": 0.5}
    assert difference("gear-l-control", "gear-l") == {"joint.tokenizer_losses": ()}
    assert difference("gear-l-late", "gear-l") == {"align.depth": "late", "align.layer": 10}
    vq = Checkpoint("tokenizer", "vq", "400k")
    assert paper.runs["gear-l"].tokenizer == paper.runs["gear-l-tau0.5"].tokenizer == vq
    assert paper.runs["gear-l-no-init"].tokenizer is None
    assert not paper.runs["gear-l-ste-align"].published and paper.runs["gear-l-ste"].published


def test_a_run_has_the_settings_of_the_tokenizer_that_it_starts_from(paper, smoke):
    for study, code_dim in ((paper, 14), (smoke, 4)):
        lfq = study.runs["gear-l-lfq"].settings.tokenizer
        assert (lfq.quantizer, lfq.code_dim) == ("lfq", code_dim)
        assert lfq == study.runs["lfq"].settings.tokenizer
    assert paper.runs["gear-l-lfq"].settings.tokenizer.encoder_blocks == 4
    assert paper.runs["llamagen-repa-l-ibq"].settings.tokenizer.code_dim == 256


def test_seeds_expand_to_runs_that_refer_to_each_other(smoke):
    assert smoke.replicas("gear-l") == smoke.replicas("gear-l-s12") == ["gear-l", "gear-l-s12"]
    assert [smoke.runs[n].settings.seed for n in smoke.replicas("gear-l")] == [11, 12]
    assert str(smoke.runs["gear-l-s12"].tokenizer) == "vq-s12@400k"
    assert str(smoke.runs["gear-l-frozen-s12"].tokenizer) == "gear-l-s12@400k"
    assert str(smoke.runs["gear-l-frozen"].tokenizer) == "gear-l@400k"
    joint = smoke.checkpoint("gear-l-s12", "400k")
    assert smoke.tokenizer_of(smoke.checkpoint("gear-l-frozen-s12", "1500k")) == joint
    assert smoke.tokenizer_of(joint) == joint
    # a run without seeds is of the first one, and inherits no list of seeds
    assert smoke.replicas("gear-b") == ["gear-b"]
    assert smoke.runs["gear-b"].settings.seed == 11


def test_until_ends_a_run(paper):
    assert list(paper.runs["gear-l-late"].steps) == ["100k"]
    assert paper.runs["gear-l-control-frozen"].steps == {
        "100k": 100000,
        "400k": 400000,
        "1500k": 1500000,
    }
    assert paper.runs["gear-l-frozen"].previous("400k") == "100k"
    assert paper.runs["gear-l-frozen"].previous("100k") is None


def test_until_in_a_study_of_fewer_milestones(edited_config):
    """It ends with the last milestone that is not later, or with the first where all are later."""

    def steps(until):
        line = f"  ar-{until}: {{tokenizer: vq@400k, until: {until}}}\n"
        folder = edited_config("runs.yaml", "\nar:\n", f"\nar:\n{line}")
        return list(Study("smoke", folder=folder).runs[f"ar-{until}"].steps)

    assert steps("100k") == ["400k"] and steps("400k") == ["400k"]
    assert steps("1500k") == ["400k", "1500k"] and steps("4000k") == ["400k", "1500k", "4000k"]


def test_depth_and_size_name_a_layer(paper):
    def layer(run):
        return paper.runs[run].settings.align.layer

    assert [layer(f"gear-l{d}") for d in ("-early", "", "-late")] == [6, 8, 10]
    assert [layer(f"gear-{s}") for s in ("b", "l", "xl")] == [4, 8, 12]


def test_every_table_row_is_asked_for_with_its_tokenizer(smoke):
    evaluated = jobs.evaluations(smoke)
    assert evaluated[smoke.checkpoint("llamagen-repa-l", "1500k")] == ("plain", "cfg")
    assert evaluated[smoke.checkpoint("vq", "400k")] == ()
    assert all(smoke.tokenizer_of(checkpoint) in evaluated for checkpoint in evaluated)
    scored = [need.checkpoint for need in inputs(smoke.table_specs["control"]) if need.sampler]
    assert {str(c) for c in scored} >= {"gear-l-frozen-s12@1500k", "gear-l-frozen@1500k"}


# one line


def test_an_ablation_is_one_line_and_one_row(edited_config, smoke):
    line = "  gear-l-tau0.2: {from: gear-l, joint.temperature: 0.2}\n"
    folder = edited_config("runs.yaml", "  gear-l-tau0.5:", line + "  gear-l-tau0.5:")
    row = '    - {row: "τ = 0.2", run: gear-l-tau0.2@400k}\n'
    edited_config(
        "tables.yaml",
        '    - {row: "w/ STE", run: gear-l-ste@400k',
        row + "    - {row: STE, run: gear-l-ste@400k",
    )
    study = Study("smoke", folder=folder)
    before, after = every_job(smoke), every_job(study)
    assert after.keys() - before.keys() == {("gear-l-tau0.2", "400k")}
    assert {k: after[k] for k in before} == before
    assert '"joint.temperature":0.2' in after["gear-l-tau0.2", "400k"]
    new = study.checkpoint("gear-l-tau0.2", "400k")
    assert jobs.evaluations(study) == jobs.evaluations(smoke) | {new: ("plain",)}


def test_a_line_may_change_what_its_size_or_depth_says(edited_config):
    folder = edited_config(
        "runs.yaml", GEAR_B, "gear-b: {from: gear-l, ar.layers: 7, align.layer: 5}"
    )
    run = Study("smoke", folder=folder).runs["gear-b"]
    assert (run.settings.ar.layers, run.settings.align.layer) == (7, 5)
