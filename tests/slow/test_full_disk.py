"""Every command that writes meets a file system without room, and goes on when there is some.

The commands of a small study follow each other on a tmpfs, which no limit of this process stands in
for. Each runs in a fork, first with no room at all, then with room for half of what it writes.
"""

import multiprocessing
import os
import shlex
import shutil
import sys

import checkpoints
import mounts
import pytest
import torch
from checkout import ROOT

from gear.cli.main import main as gear
from gear.launch import warm
from gear.study import jobs
from gear.study.needs import Checkpoint
from gear.study.registry import Study

pytestmark = pytest.mark.slow

R, DATA = "results/smoke", "data/digits-smoke"
JOINT, AR = "joint/gear-l/400k", "ar/gear-l/400k"
TIMES = ("run.json", ".pt", "lock")  # hold seconds or a process id


def commands(theirs):
    """{name: (words of a gear.* module or of `gear`, what it writes)}, one after the other."""
    study = Study("smoke")
    sampler = next(iter(study.spec["samplers"]))
    of = {path: Checkpoint.of(path) for path in ("tokenizer/vq/400k", JOINT, AR)}

    def train(path, *more):
        stage, run, step = path.split("/")
        line = jobs.training(study, run, step)
        words = ["--job", line, "--name", run, "--output", f"{R}/{path}"]
        return [
            f"gear.{stage}.train",
            *words,
            "--data",
            f"{DATA}/manifest.json",
            *more,
        ], f"{R}/{stage}"

    def small(module, line, folder):
        words = ["--job", line, "--output", f"{R}/{folder}", "--data", f"{DATA}/manifest.json"]
        return [module, *words], f"{R}/{folder}"

    teacher = ("--teacher", f"{R}/teacher/dinov2")
    vq, joint = (("--tokenizer", f"{R}/{path}") for path in ("tokenizer/vq/400k", JOINT))
    options = shlex.split(jobs.evaluation_options(study, of[JOINT]))
    drawn = f"{R}/drawn.npz"
    return {
        "data": (["gear.data.digits", "--output", DATA, "--size", "16", "--train", "128",
                  "--val", "64", "--seed", "0"], "data"),
        "features": small("gear.features.standin", jobs.features(study), "features"),
        "teacher": small("gear.alignment.teachers.standin", jobs.teacher(study, "dinov2"),
                         "teacher/dinov2"),
        "tokenizer": train("tokenizer/vq/400k"),
        "joint": train(JOINT, *teacher, *vq),
        "ar": train(AR, *teacher, *joint),
        "draw": (["gear.sampling.generate", "--job", jobs.drawing(study, "gear-l", sampler),
                  "--checkpoint", f"{R}/{JOINT}", "--output", drawn], drawn),
        "score": (["gear.evaluation.score", "--job", jobs.scoring(study, "gear-l"), "--samples",
                   drawn, *joint, "--features", f"{R}/features", "--output", f"{R}/score.json"],
                  f"{R}/score.json"),
        "evaluate": (["gear.evaluation.checkpoint", "--job", jobs.evaluation(
            study, "gear-l", [sampler]), *options, "--data", f"{DATA}/manifest.json"],
                     f"{R}/metrics"),
        "table": (["gear.report.make", "table", "--spec", jobs.line(
            Study("demo").table_specs["components"]), "--root", str(DEMO), "--output",
            f"{R}/tables/components"], f"{R}/tables"),
        "sample": (["sample", "--checkpoint", f"{R}/{JOINT}", "--classes", "1,2", "--output",
                    f"{R}/grid.png", "--tokens", f"{R}/tokens.npz"], f"{R}/grid.png"),
        "export": (["export", f"{R}/{JOINT}", f"{R}/ours/vq.pt", "--part", "tokenizer"],
                   f"{R}/ours"),
        "import": (["import", theirs, f"{R}/theirs", "--layout", "llamagen-tokenizer"],
                   f"{R}/theirs"),
    }  # fmt: skip


DEMO = ROOT / "results/demo"


def import_small(words):
    """`gear import` of the small networks of the tests, which no study has."""
    from gear.weights.importing import import_weights

    import_weights(words[1], words[2], words[4], checkpoints.NETWORKS, checkpoints.SIZES)


def child(words, log):
    with open(log, "w", buffering=1) as text:
        sys.stdout = sys.stderr = text
        torch.set_num_threads(1)
        if words[0].startswith("gear."):
            status = warm.status_of(warm.run, words)
        elif words[0] == "import":
            sys.argv = words
            status = warm.status_of(as_command, words)
        else:
            status = warm.status_of(gear, words)
    os._exit(int(status))


def as_command(words):
    from gear.files.mistakes import Mistake

    try:
        import_small(words)
    except Mistake as error:
        raise SystemExit(f"gear: {error}") from None


def execute(words, log):
    """(exit status, what it printed) of a command in a fork."""
    fork = multiprocessing.get_context("fork").Process(target=child, args=(words, log))
    fork.start()
    fork.join(600)
    return fork.exitcode, log.read_text()


def tree(folder):
    """{file: content}; None where a file holds times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): None if path.name.endswith(TIMES) else path.read_bytes()
        for path in files
    }


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs") / "vq.pt"
    torch.save(checkpoints.content("vq"), path)
    return str(path)


def size_of(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def fails_in_a_sentence(name, words, log, disk):
    """The command says that there is no room for one of its files, and loses nothing."""
    before = tree(disk.folder)
    status, said = execute(words, log)
    last = said.strip().splitlines()[-1] if said.strip() else ""
    print(f"{name}: {status} {last}")
    assert status == 1 and "Traceback" not in said, said
    assert "there is no room for " in last or "No space left on device" in last, said
    named = last.split("no room for ")[-1].split(";")[0]
    assert named.startswith((R, "data")) and "/." not in named, last
    after = tree(disk.folder)
    assert {k: after.get(k) for k in before} == before
    new = {k for k in after.keys() - before.keys() if not k.endswith(TIMES)}
    assert not [k for k in new if ".part" in k or "partial" in k], new
    return after


def test_no_room_is_said_in_a_sentence_and_the_same_command_goes_on(theirs, tmp_path, monkeypatch):
    roomy, log = tmp_path / "roomy", tmp_path / "log.txt"
    roomy.mkdir()
    sizes = {}
    monkeypatch.chdir(roomy)
    for name, (words, written) in commands(theirs).items():
        status, said = execute(words, log)
        assert status == 0, f"{name}: {said}"
        sizes[name] = size_of(roomy / written)
    with mounts.disk("24m") as disk:
        monkeypatch.chdir(disk.folder)
        for name, (words, _) in commands(theirs).items():
            for room in (0, sizes[name] // 2):
                filling = disk.fill()
                os.truncate(filling, max(0, filling.stat().st_size - room))
                fails_in_a_sentence(f"{name}, room of {room}", words, log, disk)
                filling.unlink()
            status, said = execute(words, log)
            assert status == 0, f"{name}: {said}"
        made = tree(disk.folder)
        monkeypatch.chdir(tmp_path)
        whole = tree(roomy)
        shutil.rmtree(roomy)
        assert [k for k in sorted(made | whole) if made.get(k) != whole.get(k)] == []
        assert made.keys() == whole.keys()
