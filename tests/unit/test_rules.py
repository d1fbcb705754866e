"""The rules as text: what each of them must have, read from workflow/rules.

Snakemake accepts a rule without resources, and a path without quotes, in silence; so the files are
read as lines, a rule from its head to the end of its shell.
"""

import re

from gear.artifacts import times
from gear.study import jobs
from gear.study.configfiles import CONFIG
from gear.study.registry import Study

FILES = sorted((CONFIG.parent / "workflow" / "rules").glob("*.smk"))
LOCAL = {"make_table", "make_claims", "make_figure", "make_index"}  # `localrules` in targets.smk
PLAIN = {  # what a shell takes without quotes: numbers, checked names, options that are quoted
    "params.cfg[pixels]",
    "wildcards.run", "wildcards.step", "params.options", "params.counts",
    "resources.nodes", "resources.processes", "resources.cpus_per_task", "resources.gpus_per_node",
    "params.cfg[size]", "params.cfg[train]", "params.cfg[val]", "params.cfg[seed]",
    "params.cfg[classes]",
}  # fmt: skip


def rules():
    """[text] of every rule that runs a shell."""
    found = []
    for file in FILES:
        parts = re.split(r"^ *(?=rule\b[^\n]*:\n)", file.read_text(encoding="utf-8"), flags=re.M)
        found += [part for part in parts[1:] if "shell:" in part]
    return found


def shell(rule):
    """The lines of a rule's shell."""
    text = rule[rule.index("shell:\n") + 7 :]
    return re.match(r"(?: +[^\n]*\n)+", text).group()


def test_every_rule_asks_for_its_own_resources_and_jobs_may_name_it():
    asked = []
    for rule in rules():
        name = re.match(r"rule ?(\w*):", rule).group(1)
        own = re.findall(r'\*\*jobs.needs\(STUDY, "(\w+)"\)', rule)
        assert own == ([] if name in LOCAL else [name or "evaluate"]), name
        asked += own
    assert set(asked) == set(jobs.RULES)


def test_every_word_of_a_shell_is_quoted():
    common = next(file for file in FILES if file.name == "common.smk").read_text(encoding="utf-8")
    launch = re.search(r"LAUNCH = \((.*?)\n\)", common, re.DOTALL).group(1)
    seen = 0
    for text in (launch, *map(shell, rules())):
        assert not re.search(r"""\bf["']""", text), text  # an f-string's words are not quoted
        for word in re.findall(r"\{([^}]+)\}", text):
            seen += 1
            option = word == "params.tokenizer" and "--tokenizer" not in text  # from common.smk
            assert word.endswith(":q") or word in PLAIN or option, word
        for inner in re.findall(r"(.)\$\(", text):
            assert inner == '"', text
    assert seen > 60 and "shlex.quote(source)" in common


def test_a_jobs_benchmark_file_is_found_by_its_log():
    """Both patterns of each rule, with every word of theirs set to one that could mislead."""
    found = set()
    for rule in rules():
        name = re.match(r"rule ?(\w*):", rule).group(1) or "evaluate"
        patterns = re.search(r'log:\n\s*f"(.*)",\n\s*benchmark:\n\s*f"(.*)"\n', rule)
        assert bool(patterns) == ("benchmark:" in rule) == (name not in LOCAL), name
        log = re.search(r'log:\n\s*f"(.*)",\n', rule).group(1)
        words = {"{R}": "results/logs", "{{folder}}": "data/log", "{{checkpoint}}": "ar/log/4k"}
        words |= {"{{run}}": "log", "{{step}}": "4k", "{{sampler}}": "log", "{{teacher}}": "log"}
        words |= {"{{quantizer}}": "log", "{{table}}": "logs", "{{figure}}": "logs"}
        words |= {"{{claims}}": "logs"}
        both = [log, patterns.group(2) if patterns else None]
        for old, new in words.items():
            both = [text and text.replace(old, new) for text in both]
        assert "{" not in both[0] and times.benchmark_of(name, both[0]) == both[1], name
        found.add(both[1])
    assert len(found) > 10


def test_a_jobs_seconds_are_its_benchmark_files_or_its_records(tmp_path):
    log, tsv = f"{tmp_path}/log.txt", tmp_path / "benchmark.tsv"
    record = {"rule": "score", "log": [log], "starttime": 10.04, "endtime": 10.0}
    assert str(times.seconds(record)) == "0.0"  # as of a job that was queued
    assert times.seconds(record | {"endtime": 22.06}) == 12.0
    assert times.seconds(record | {"log": None, "endtime": 22.06}) == 12.0
    for text in ("", "s\th:m:s\n", "s\th:m:s\nNA\t0\n", "s\tx\n-1\t0\n", "x\n1\n", "s\nnan\n"):
        tsv.write_text(text)
        assert times.seconds(record | {"endtime": 22.06}) == 12.0, text
    tsv.write_text("s\th:m:s\n134.2321\t0:02:14\n")
    assert times.seconds(record) == 134.2321


def test_options_are_quoted():
    study = Study("smoke", results="a b;c")
    checkpoint = study.checkpoint("gear-l", "400k")
    evaluation = jobs.evaluation_options(study, checkpoint)
    assert "--checkpoint 'a b;c/smoke/joint/gear-l/400k' --tokenizer 'a b;c" in evaluation
    assert evaluation.count("'a b;c/smoke/") == 6
    assert jobs.analysis_options(study, checkpoint).count("'a b;c/smoke/") == 3


def test_a_study_has_the_rules_whose_jobs_it_makes(smoke, paper):
    snapshot = (CONFIG.parent / "tests/smoke/paper_jobs.txt").read_text(encoding="utf-8")
    made = {line.split()[1] for line in snapshot.splitlines()} - LOCAL - {"all_tables"}
    assert set(jobs.rules(paper)) == made | {"decode_samples"}  # which figures alone need
    assert set(paper.spec["jobs"]) == set(jobs.rules(paper))
    absent = {"import_teacher", "import_features", "import_public", "draw", "score", "score_coco"}
    absent |= {"import_text_encoder", "import_text_features"}
    assert set(jobs.rules(smoke)) == set(jobs.RULES) - absent
