"""`gear artifacts ACTION [PATH ...]`."""

from gear.artifacts import check, save, store, transfer
from gear.artifacts.restore import restore
from gear.artifacts.units import cleaned

OPTIONS = {"save": ("states",), "push": ("inputs", "states"), "pull": ("inputs", "states")}


def main(args):
    """Run one action; returns its exit status. ValueError where the arguments do not fit it."""
    given = {name: getattr(args, name) for name in ("inputs", "states")}
    options = {name: given[name] for name in OPTIONS.get(args.action, ())}
    for name, value in given.items():
        if value and name not in options:
            raise ValueError(f"gear artifacts {args.action} has no --{name}; leave it out.")
    if args.action == "remote":
        return _remote(args.paths)
    if not args.paths and args.action in OPTIONS:
        raise ValueError(f"say what to {args.action}, such as results/demo")
    prefixes = cleaned(args.paths or ["results"])
    if args.action == "restore":
        restore(prefixes)
        return 0
    module = {"save": save, "push": transfer, "pull": transfer}.get(args.action, check)
    return getattr(module, args.action)(prefixes, **options)


def _remote(urls):
    cleaned([])
    if urls[1:]:
        raise ValueError("a remote is one URL; put it in quotes if it has spaces.")
    if urls:
        store.set_remote(urls[0])
    name = store.remote()
    known = name and store.dvc("config", f"remote.{name}.url").strip()
    print(known or "no remote is set; gear artifacts remote URL sets one")
