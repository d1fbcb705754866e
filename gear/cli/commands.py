"""The subcommands of `gear`: one small function for each declares its options.

What a subcommand needs is imported in its handler, so that `gear --help` and `gear compare` load no
torch."""

import argparse
import os
import sys

from gear.files.mistakes import Mistake
from gear.metrics import PROTOCOLS
from gear.weights import LAYOUTS

STUDIES = "demo | folder | paper | smoke | your own"


def _run(commands):
    command = commands.add_parser("run", help="make a target: the right Snakemake command")
    command.add_argument("targets", nargs="*", default=["all"], help="or run@step; default: all")
    command.add_argument("--study", required=True, help=STUDIES)
    command.add_argument("--results", default="results", help="folder of the results (results)")
    command.add_argument("--cluster", action="store_true", help="as jobs of SLURM")
    command.add_argument("-n", dest="dry", action="store_true", help="only count the jobs by rule")

    def run(args):
        from gear.cli import run

        return run.main(args.targets, args.study, args.results, args.cluster, args.dry)

    command.set_defaults(run=run)


def _compare(commands):
    command = commands.add_parser("compare", help="compare two results folders, cell by cell")
    command.add_argument("ours", help="such as reproduced/demo")
    command.add_argument("theirs", help="such as results/demo")
    command.add_argument("--strict", action="store_true", help="fail where a cell is different")

    def run(args):
        from gear.report.compare import compare

        return compare(args.ours, args.theirs, args.strict)

    command.set_defaults(run=run)


def _page(commands):
    command = commands.add_parser("page", help="the results as one page for a browser")
    command.add_argument("folder", help="a study's results, such as results/demo")

    def run(args):
        from gear.report.page import said

        print(said(args.folder))

    command.set_defaults(run=run)


def _target(command):
    command.add_argument("--study", required=True, help=STUDIES)
    command.add_argument("--results", default="results", help="where finished milestones lie")
    command.add_argument("--target", default="all", help="a table or figure; default: all")


def _look_at(results):
    """Say that a folder of results is not there: a misspelt one looks like one without results.

    Mistake: it is a file."""
    if os.path.exists(results) and not os.path.isdir(results):
        raise Mistake(f"--results {results} is a file; name the folder of the results.")
    if not os.path.exists(results):
        print(f"gear: {results} does not exist, so nothing counts as made yet", file=sys.stderr)


def _plan(commands):
    command = commands.add_parser("plan", help="what a study will train, and what it will cost")
    _target(command)
    command.add_argument("--device", help="hours and queue on a device of config/devices.yaml")
    command.add_argument("--tflops", type=float, help="training hours at so many TFLOP/s a GPU")
    command.add_argument("--wait", type=float, default=0, help="minutes in the queue at each start")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--details", action="store_true", help="also each run with its networks")
    command.add_argument("--resources", action="store_true", help="only what a rule's jobs ask for")

    def run(args):
        from gear.plan import report
        from gear.study.registry import Study

        _look_at(args.results)
        if args.resources:
            return print("\n".join(report.resources(Study(args.study, args.results))))
        chosen = (args.target, args.device, args.tflops, args.wait)
        report.plan(args.study, args.results, *chosen, args.json, args.details)

    command.set_defaults(run=run)


def _doctor(commands):
    command = commands.add_parser("doctor", help="what a study needs that is not here yet")
    _target(command)
    command.add_argument(
        "--metrics", action="store_true", help="also score made images, against known numbers"
    )

    def run(args):
        from gear.cli import doctor

        _look_at(args.results)
        return doctor.main(args.study, args.results, args.target, args.metrics)

    command.set_defaults(run=run)


def _reconstruct(commands):
    command = commands.add_parser("reconstruct", help="images through a tokenizer and back")
    command.add_argument("--tokenizer", required=True, help="checkpoint folder that holds one")
    command.add_argument("--images", required=True, help="folder, searched with its subfolders")
    command.add_argument("--output", required=True, help="folder of PNGs, one per image")
    command.add_argument("--tokens", help="write the tokens found to this .npz")
    _force(command)
    command.add_argument("--resolution", type=int, help="pixels; default: the checkpoint's")
    command.add_argument("--json", action="store_true", help="print L1, PSNR and SSIM as JSON")
    _device(command)

    def run(args):
        from gear.cli import reconstruct

        reconstruct.main(args)

    command.set_defaults(run=run)


def _sample(commands):
    command = commands.add_parser("sample", help="draw images of classes or of prompts")
    command.add_argument("--checkpoint", required=True, help="folder that holds an AR")
    command.add_argument(
        "--tokenizer", help="default: the checkpoint's own, or that of its run.json"
    )
    command.add_argument("--classes", help="numbers or folder names, such as 3,207")
    command.add_argument("--prompt", action="append", help="a prompt; repeat the option for more")
    command.add_argument("--prompts", help="file of prompts: .txt with one per line, or .jsonl")
    command.add_argument("--text-encoder", help="folder; default: the one of run.json")
    command.add_argument("--negative-prompt", help="in place of the empty caption; with --guidance")
    command.add_argument("--count", type=int, default=4, help="images of each class or prompt (4)")
    command.add_argument("--batch", type=int, help="pictures at once; changes no picture")
    command.add_argument("--guidance", type=float, default=1.0, help="1 is none (default)")
    command.add_argument("--temperature", type=float, default=1.0)
    command.add_argument("--top-k", type=int, default=0, help="0: off (default)")
    command.add_argument("--top-p", type=float, default=1.0, help="1: off (default)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the AR's arithmetic; bf16 is faster and draws other images (fp32)",
    )
    command.add_argument("--aspect", help="only 1:1 (default)")
    command.add_argument("--output", required=True, help=".png: a grid; of prompts also a folder")
    command.add_argument(
        "--folders", choices=("geneval", "dpg"), help="as this benchmark's scorer reads them"
    )
    command.add_argument("--tokens", help="write tokens, labels and seeds to this .npz")
    _force(command)
    _device(command)

    def run(args):
        from gear.cli import sample

        sample.main(args)

    command.set_defaults(run=run)


def _likelihood(commands):
    command = commands.add_parser("likelihood", help="mean next-token loss of given tokens")
    command.add_argument("--checkpoint", required=True, help="folder that holds an AR")
    command.add_argument("--tokens", required=True, help=".npz with tokens and, if any, labels")
    command.add_argument("--class", dest="classes", type=int, help="one class for all of them")
    command.add_argument("--captions", help="file of texts, as --prompts of gear sample")
    command.add_argument("--text-encoder", help="folder; default: the one of run.json")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    _device(command)

    def run(args):
        from gear.cli import likelihood

        likelihood.main(args)

    command.set_defaults(run=run)


def _evaluate(commands):
    command = commands.add_parser("evaluate", help="metrics of any images under a protocol")
    command.add_argument("--samples", required=True, help="folder, or .npz with arr_0 as ADM's")
    command.add_argument("--reference", help="an .npz of the protocol, or a folder of images")
    command.add_argument("--protocol", required=True, choices=PROTOCOLS)
    command.add_argument("--weights", help="local file of the feature network's; default: weights/")
    command.add_argument("--sha256", help="that the weights have, where it is not the publisher's")
    command.add_argument("--images", type=int, help="exact number; default: the protocol's")
    command.add_argument("--classes", type=int, help="how many must be there, where labels are")
    command.add_argument("--captions", help="for clip_score: lines, or .json {file: caption}")
    command.add_argument("--save-reference", help="write the reference's statistics to this .npz")
    _force(command)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    _device(command)

    def run(args):
        from gear.cli import evaluate

        evaluate.main(args)

    command.set_defaults(run=run)


def _import(commands):
    command = commands.add_parser("import", help="public weights into a checkpoint folder")
    command.add_argument("source", help="a .pt, .pth, .ckpt or .safetensors file")
    command.add_argument("dest", help="folder; DEST/tokenizer and DEST/ar where there are both")
    command.add_argument("--layout", required=True, choices=LAYOUTS)
    command.add_argument("--study", default="paper", help="whose network settings it has (paper)")
    command.add_argument("--resolution", type=int, help="of an AR's images; default: the study's")
    command.add_argument("--slots", type=int, help="of a caption; default: the study's")
    command.add_argument("--sha256", help="refuse a file with another hash")

    def run(args):
        from gear.study.registry import Study
        from gear.weights.importing import import_weights

        study = Study(args.study)
        networks = {name: study.network(name) for name in study.spec["quantizers"]}
        options = {"resolution": args.resolution, "sha256": args.sha256, "slots": args.slots}
        sizes = study.spec["sizes"]
        import_weights(args.source, args.dest, args.layout, networks, sizes, **options)

    command.set_defaults(run=run)


def _export(commands):
    command = commands.add_parser("export", help="a checkpoint's weights in their public layout")
    command.add_argument("checkpoint", help="folder of a checkpoint")
    command.add_argument("output", help="a .pt file")
    command.add_argument("--part", choices=("tokenizer", "ar"), help="where it holds both")
    _force(command)

    def run(args):
        from gear.weights.exporting import export

        export(args.checkpoint, args.output, args.part, args.force)

    command.set_defaults(run=run)


def _batch(commands):
    command = commands.add_parser("batch", help="the images that a training saw at a step")
    command.add_argument("checkpoint", help="run@step, such as gear-l@120 or gear-l@400k")
    command.add_argument("--study", required=True, help=STUDIES)
    command.add_argument("--results", default="results", help="where the list of a folder lies")
    command.add_argument("--output", required=True, help="a .png file; an .npz is written beside")
    _force(command)

    def run(args):
        from gear.cli import batch
        from gear.study.registry import Study

        batch.main(Study(args.study, args.results), args.checkpoint, args.output, args.force)

    command.set_defaults(run=run)


def _card(commands):
    command = commands.add_parser("card", help="what a checkpoint is, as a page of markdown")
    command.add_argument("checkpoint", help="folder of a checkpoint")
    command.add_argument("--output", help="write it to this .md file; default: print it")
    _force(command)

    def run(args):
        from gear.files.aside import write
        from gear.files.outputs import require_free
        from gear.weights.card import card

        require_free({"output": args.output}, args.force)
        text = card(args.checkpoint)
        return write(args.output, text) if args.output else print(text, end="")

    command.set_defaults(run=run)


ACTIONS = {  # of `gear artifacts`: what it does, and its options
    "save": ("take what Snakemake made into DVC and git", "states"),
    "push": ("copy large files to the remote", "inputs", "states"),
    "pull": ("get large files from the remote, then restore", "inputs", "states"),
    "restore": ("give Snakemake its records of what is in git", "accept-code"),
    "check": ("what is stale by its inputs' content, changed, missing or damaged",),
    "status": ("what is saved, modified or not pulled",),
    "remote": ("show the remote, or set it to a URL",),
}
ARTIFACT_OPTIONS = {
    "inputs": "and all that they were made from",
    "states": "and the training states",
    "accept-code": "results count as made although code has changed; their records then say so",
}


def _artifacts(commands):
    command = commands.add_parser(
        "artifacts",
        help="results by DVC, and what Snakemake knows of them",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "remotes:\n"
            "  gear artifacts remote /mnt/disk/gear           a folder\n"
            "  gear artifacts remote s3://bucket/gear         Amazon S3 (pip install dvc-s3)\n"
            "  gear artifacts remote gs://bucket/gear         Google Cloud (pip install dvc-gs)\n"
            "  gear artifacts remote ssh://me@host/gear       a server (pip install dvc-ssh)"
        ),
    )
    actions = command.add_subparsers(dest="action", required=True)
    for name, (said, *options) in ACTIONS.items():
        action = actions.add_parser(name, help=said)
        what = "URL" if name == "remote" else "such as results/demo/joint/gear-l"
        action.add_argument("paths", nargs="*", help=what)
        for option in options:
            action.add_argument(f"--{option}", action="store_true", help=ARTIFACT_OPTIONS[option])

    def run(args):
        from gear.cli import artifacts

        return artifacts.main(args)

    command.set_defaults(run=run)


def _force(command):
    command.add_argument("--force", action="store_true", help="replace files that are there")


def _device(command):
    command.add_argument("--device", help="cuda | cpu; default: cuda where there is one")


COMMANDS = (
    _run,
    _compare,
    _page,
    _plan,
    _doctor,
    _reconstruct,
    _sample,
    _likelihood,
    _evaluate,
    _import,
    _export,
    _batch,
    _card,
    _artifacts,
)
