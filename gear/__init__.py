"""GEAR: Guided End-to-End AutoRegression for Image Synthesis, reproduced (arXiv 2606.32039).

    model = gear.load("reproduced/demo/joint/gear-l/400k")      # gear.Model
    gear.evaluate("samples.npz", "reference.npz", protocol="adm")

What stands here is imported when it is first used: `gear --help` and Snakemake, which import
modules of this package, load no torch.
"""

_PLACES = {"load": "gear.model", "Model": "gear.model", "evaluate": "gear.evaluation.anyone"}


def __getattr__(name):
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("gear")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'gear' has no attribute '{name}'")


def __dir__():
    return [*globals(), *_PLACES, "__version__"]
