"""The commands of a small study, one after the other, each in a fork of this process."""

import multiprocessing
import os
import shlex
import sys

import checkpoints
import torch
from checkout import ROOT

from gear.cli.main import main as gear
from gear.files.mistakes import Mistake
from gear.launch import warm
from gear.study import jobs
from gear.study.needs import Checkpoint
from gear.study.registry import Study
from gear.weights.importing import import_weights

R, DATA = "results/smoke", "data/digits-smoke"
DEMO = ROOT / "results/demo"
JOINT, AR = "joint/gear-l/400k", "ar/gear-l-frozen/400k"
TIMES = ("run.json", ".pt", ".pt.md", "lock")  # hold seconds or a process id


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


def child(words, log):
    with open(log, "w", buffering=1) as text:
        sys.stdout = sys.stderr = text
        torch.set_num_threads(1)
        if words[0].startswith("gear."):
            status = warm.status_of(warm.run, words)
        else:
            status = warm.status_of(import_small if words[0] == "import" else gear, words)
    os._exit(int(status))


def import_small(words):
    """`gear import` of the small networks of the tests, which no study has."""
    try:
        import_weights(words[1], words[2], words[4], checkpoints.NETWORKS, checkpoints.SIZES)
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
