"""The folders of gear/ form floors: a folder imports from those below it and never from above.

The order stands here as a list. Every import statement of every module is read, also those inside
functions. Other tests import modules in a process of their own: the torch-free folders, and all of
gear/ with packages hidden that a GPU node may lack.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gear

ROOT = Path(gear.__file__).parent
# From the ground up. `plan` and `cli` may use everything below them.
FLOORS = (
    "files",
    "config",
    "runtime",
    "data",
    "foreign",
    "kernels",
    "alignment",
    "tokenizer",
    "ar",
    "joint",
    "t2i",
    "sampling",
    "metrics",
    "features",
    "weights",
    "analysis",
    "evaluation",
    "model",
    "study",
    "report",
    "artifacts",
    "plan",
    "launch",
    "cli",
    "__main__",
)


# what a machine with torch, torchvision, timm and transformers need not have
LACKING = (
    *("snakemake", "snakemake_interface_common", "snakemake_executor_plugin_slurm", "dvc"),
    *("jsonschema", "pydantic", "lpips", "open_clip", "cleanfid", "sklearn", "skimage", "prdc"),
    *("torch_fidelity", "tensorboard", "markdown_it", "pandas", "triton"),
)


def modules(folder):
    """The dotted names of all modules below a folder."""
    paths = sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")
    return [".".join(("gear", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]


def imported(path):
    """(line, folder of gear/) of each import of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the folder"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "gear":
                yield node.lineno, parts[1]


def test_no_import_runs_up():
    up = []
    for path in sorted(ROOT.rglob("*.py")):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for line, folder in imported(path) if own != "__init__" else ():
            if FLOORS.index(folder) > FLOORS.index(own):
                up.append(f"{path.relative_to(ROOT)}:{line} imports gear.{folder}")
    assert not up, "\n".join(up)


def test_every_folder_has_its_floor():
    # a folder that only holds __pycache__ is left over from another commit
    found = [path for path in ROOT.iterdir() if path.suffix == ".py" or any(path.rglob("*.py"))]
    names = {path.stem for path in found} - {"__init__"}
    assert names == set(FLOORS)
    assert len([path for path in ROOT.glob("*.py") if path.name != "__init__.py"]) <= 3


@pytest.mark.parametrize("folder", ["files", "study", "report"])
def test_what_snakemake_parses_with_loads_no_torch(folder):
    """`files` and `study` are imported at each start of Snakemake, `report` by each table."""
    code = f"import sys, {', '.join(modules(ROOT / folder))}\nsys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"gear/{folder} loads torch"


def importable(names, lacking):
    """Import modules where some packages are not there."""
    hidden = f"sys.modules.update(dict.fromkeys({lacking!r}))"  # None: importing it is an error
    code = f"import sys\n{hidden}\nimport {', '.join(names)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_of_it_is_importable_on_a_bare_gpu_node():
    left_out = ("gear.launch.__main__", "gear.study.models.", "gear.study.schema")
    left_out += ("gear.study.specs.figures.", "gear.kernels.gpu", "gear.kernels.programs")
    importable([name for name in modules(ROOT) if not name.startswith(left_out)], LACKING)


def test_what_a_job_runs_needs_no_yaml():
    folders = ("tokenizer", "joint", "ar", "sampling", "features", "metrics", "evaluation")
    names = [name for folder in (*folders, "analysis") for name in modules(ROOT / folder)]
    importable(names, (*LACKING, "yaml"))
