"""`gear artifacts ACTION [PATH ...]`."""

from gear.artifacts import check, save, store, transfer
from gear.artifacts.restore import restore
from gear.artifacts.units import cleaned
from gear.files.mistakes import Mistake


def main(args):
    """Run one action; returns its exit status. Mistake where the paths do not fit it."""
    options = {name: vars(args)[name] for name in ("inputs", "states") if name in args}
    if args.action == "remote":
        return _remote(args.paths)
    if not args.paths and options:
        raise Mistake(f"say what to {args.action}, such as results/demo")
    prefixes = cleaned(args.paths or ["results"])
    if args.action == "restore":
        restore(prefixes, args.accept_code)
        return 0
    module = {"save": save, "push": transfer, "pull": transfer}.get(args.action, check)
    return getattr(module, args.action)(prefixes, **options)


def _remote(urls):
    cleaned([])
    if urls[1:]:
        raise Mistake("a remote is one URL; put it in quotes if it has spaces.")
    if urls:
        store.set_remote(urls[0])
    print(store.remote() or "no remote is set; gear artifacts remote URL sets one")
