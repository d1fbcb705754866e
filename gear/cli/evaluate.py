"""`gear evaluate`: gear.evaluate, printed."""

from gear.evaluation.anyone import evaluate
from gear.files.aside import line

OPTIONS = ("weights", "sha256", "images", "classes", "captions", "save_reference", "force")


def main(args):
    """args: the options of `gear evaluate` (gear/cli/commands.py)."""
    options = {name: getattr(args, name) for name in OPTIONS}
    common = {"protocol": args.protocol, "device": args.device}
    result = evaluate(args.samples, args.reference, **common, **options)
    if args.json:
        print(line(result))
        return
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
    print(f"{args.samples}: {result['images']} images, protocol {args.protocol}: {metrics}")
    for note in result["notes"]:
        print(f"note: {note}")
