"""A mistake in config/ stops before any job, in one sentence that names the cure."""

import pytest

from gear.study.registry import Study

GEAR_B = "gear-b:            {from: gear-l, ar.size: b}"


@pytest.mark.parametrize(
    "line, message",
    [
        ("{from: gear-l, ar.szie: b}", "unknown setting 'ar.szie'. Did you mean 'ar.size'?"),
        ("{from: gear-l, untl: 400k}", "unknown setting 'untl'. Did you mean 'until'?"),
        ("{from: gear-1}", "there is no run 'gear-1' to take from. Did you mean 'gear-l'?"),
        ("{from: gear-b}", "it takes from itself through 'gear-b'."),
        ("{from: vq}", "'vq' is of stage tokenizer; take from a run of stage joint."),
        ("{from: gear-l, ar.size: x}", "study 'smoke' has no size 'x'. Did you mean 'xl'?"),
        (
            "{from: gear-l, align.depth: erly}",
            "align.depth cannot be 'erly'. Did you mean 'early'?",
        ),
        (
            "{from: gear-l, seeds: headlin}",
            "study 'smoke' has no seeds 'headlin'. Did you mean 'headline'?",
        ),
        ("{from: gear-l, tokenizer: vqq@400k}", "there is no run 'vqq'. Did you mean 'vq'?"),
        ("{from: gear-l, tokenizer: vq@40k}", "run 'vq' has no step '40k'. Its steps: 400k."),
        ("{from: gear-l, joint.temperature: hot}", "'joint.temperature' is 'hot'; it must be a"),
        (
            "{from: gear-l, tokenizer.quantizer: lqf}",
            "setting 'tokenizer.quantizer' cannot be 'lqf'. Did you mean 'lfq'?",
        ),
        ("{from: gear-l, until: 10k}", "until cannot be '10k'. Did you mean '100k'?"),
        ("{from: gear-l, until: 399k}", "until cannot be '399k'. Did you mean '390k'?"),
    ],
)
def test_a_line_with_a_mistake_is_named_with_its_cure(edited_config, line, message):
    folder = edited_config("runs.yaml", GEAR_B, f"gear-b: {line}")
    with pytest.raises(ValueError) as error:
        Study("smoke", folder=folder)
    assert str(error.value).startswith("runs.yaml, gear-b: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        ("runs.yaml", GEAR_B, f"{GEAR_B}\n  gear-b: {{}}", "'gear-b' is there twice; rename or"),
        ("runs.yaml", GEAR_B, f"{GEAR_B}\n  vq: {{}}", "the run 'vq' is there twice; rename one."),
        (
            "runs.yaml",
            GEAR_B,
            f"{GEAR_B}\n  gear-l-s12: {{from: gear-l}}",
            "runs.yaml: 'gear-l-s12' is a line and a seed of another; rename one.",
        ),
        (
            "runs.yaml",
            GEAR_B,
            "gear-b: {from: gear-c}\n  gear-c: {from: gear-b}",
            "runs.yaml, gear-c: it takes from itself through 'gear-b'.",
        ),
        ("runs.yaml", GEAR_B, "gear-b: {from: gear-l", "line 24: did not find expected ','"),
        (
            "tables.yaml",
            "run: llamagen-repa-l@1500k}",
            "run: llamagen-rep-l@1500k}",
            "tables.yaml, overview: there is no run 'llamagen-rep-l'. "
            "Did you mean 'llamagen-repa-l'?",
        ),
        (
            "tables.yaml",
            "run: llamagen-repa-l@1500k}",
            "run: llamagen-repa-l@150k}",
            "tables.yaml, overview: run 'llamagen-repa-l' has no step '150k'. "
            "Its steps: 400k, 1500k, 4000k.",
        ),
        (
            "tables.yaml",
            "run: llamagen-repa-l@1500k}",
            "rum: llamagen-repa-l@1500k}",
            "config/tables.yaml, overview.rows.0: unknown key 'rum'. Did you mean 'run'?",
        ),
        (
            "tables.yaml",
            "samplers: [plain]",
            "samplers: [plan]",
            "tables.yaml, overview: study 'smoke' has no sampler 'plan'. Did you mean 'plain'?",
        ),
        (
            "studies/smoke.yaml",
            "[overview, system",
            "[overvew, system",
            "studies/smoke.yaml: there is no table 'overvew' in tables.yaml. "
            "Did you mean 'overview'?",
        ),
        (
            "studies/smoke.yaml",
            "[samples",
            "[sample",
            "there is no figure 'sample' in figures.yaml. Did you mean 'samples'?",
        ),
        (
            "studies/smoke.yaml",
            "together:",
            "togeter:",
            "config/studies/smoke.yaml: unknown key 'togeter'. Did you mean 'together'?",
        ),
        (
            "studies/smoke.yaml",
            "{batch: 8",
            "{btach: 8",
            "smoke.yaml, settings: unknown setting 'optim.btach'. Did you mean 'optim.batch'?",
        ),
        (
            "studies/smoke.yaml",
            "dinov2: {kind",
            "dinov: {kind",
            "tables.yaml, overview: study 'smoke' has no teacher 'dinov2'. Did you mean 'dinov'?",
        ),
        (
            "studies/smoke.yaml",
            "lfq: {tokenizer",
            "lff: {tokenizer",
            "runs.yaml, lfq: study 'smoke' has no quantizer 'lfq'. Did you mean 'lff'?",
        ),
        (
            "studies/smoke.yaml",
            "\nsamplers:",
            "\njobs: {train_jiont: {gpus: 8}}\nsamplers:",
            "studies/smoke.yaml, jobs: there is no rule 'train_jiont'. Did you mean 'train_joint'?",
        ),
        (
            "studies/smoke.yaml",
            "ar: {400k: 2,",
            "ar: {40k: 2,",
            "milestones.ar: runs.yaml has no milestone '40k'. Did you mean '400k'?",
        ),
        (
            "studies/smoke.yaml",
            "1500k: 3, 4000k: 4",
            "4000k: 3, 1500k: 4",
            "milestones.ar: list them in the order of runs.yaml, 50k, 100k, 200k, 390k,",
        ),
        (
            "studies/smoke.yaml",
            "1500k: 3, 4000k: 4",
            "1500k: 3, 4000k: 3",
            "milestones.ar: 4000k is at step 3, which must be above the 3 of the milestone before",
        ),
        ("runs.yaml", "loss.gan: 0.0}", "loss.gan: none}", "it must be a number"),
        ("runs.yaml", "{from: gear-l, ar.size: b}", "{from: gear-m}", "Did you mean 'gear-l'?"),
        ("tables.yaml", "run: gear-l-no-gan@400k", "run: gear-l-nogan@400k", "Did you mean"),
        ("tables.yaml", 'paper: "w/o L_GAN"', 'paper: "w/o GAN"', "Did you mean 'w/o L_GAN'?"),
        ("studies/smoke.yaml", "components,", "component,", "Did you mean 'components'?"),
        ("studies/smoke.yaml", "batch: 8, lr_tok", "batch: '8', lr_tok", "must be a whole number"),
        ("studies/smoke.yaml", "\nsamplers:", "\njobs: {drow: {gpus: 8}}\nsamplers:", "'draw'?"),
        ("runs.yaml", "until: 100k, scale: 2", "until: 10k, scale: 2", "Did you mean '100k'?"),
        ("runs.yaml", "[50k, 100k,", "[100k, 100k,", "milestones: '100k' is there twice; rem"),
    ],
)
def test_a_file_with_a_mistake_is_named_with_its_cure(edited_config, file, old, new, message):
    with pytest.raises(ValueError) as error:
        Study("smoke", folder=edited_config(file, old, new))
    assert message in str(error.value)


def test_a_study_must_be_chosen():
    with pytest.raises(ValueError, match="no study is chosen; add --config study=demo"):
        Study.chosen({}, {})
    assert Study.chosen({"results": "r"}, {"GEAR_STUDY": "smoke"}).root == "r/smoke"
    assert Study.chosen({"study": "smoke"}, {"GEAR_STUDY": "paper"}).root == "results/smoke"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"study": "demoo"}, "there is no study 'demoo'. Did you mean 'demo'? A study is a file"),
        ({"study": "demo", "result": "x"}, "--config has no 'result'. Did you mean 'results'?"),
    ],
)
def test_a_misspelt_choice_is_named_with_its_cure(settings, message):
    with pytest.raises(ValueError) as error:
        Study.chosen(settings, {})
    assert message in str(error.value)


def test_a_target_that_is_none_is_answered_with_what_it_is(smoke):
    for target, said in (
        ("temperature", "It is in tables.yaml; add it to `tables` of config/studies/smoke.yaml."),
        ("convergence", "It is in figures.yaml; add it to `figures` of config/studies/smoke.yaml."),
        ("gear-l", "It is a run; `gear run` takes one of its steps: gear-l@400k."),
        ("gear-l@40k", "It is a run; `gear run` takes one of its steps: gear-l@400k."),
        ("gear-l@400k", "target is its file, results/smoke/joint/gear-l/400k/weights.safetensors."),
        ("overvew", "Did you mean 'overview'?"),
    ):
        with pytest.raises(ValueError) as error:
            smoke.specs(target)
        assert str(error.value).endswith(said), target
    assert smoke.file_of("gear-l@400k") == "results/smoke/joint/gear-l/400k/weights.safetensors"
    assert smoke.file_of("overview") == "overview"
