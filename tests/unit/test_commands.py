"""What the commands of `gear` share: devices, files, misspelt options."""

import shutil

import numpy as np
import pytest
from commands import refused, write
from PIL import Image

from gear.cli import main as cli


def test_no_such_device(home):
    options = {"checkpoint": home.path / "ar", "tokens": home.path / "t.npz"}
    words = [f"--{k}={v}" for k, v in options.items()]
    for device, message in (
        ("gpu", "gear: there is no device 'gpu'; --device is cuda or cpu."),
        ("meta", "gear: device 'meta' is not supported; --device is cuda or cpu."),
        ("cuda:99", "gear: --device cuda:99 is asked for, but torch sees "),
    ):
        with pytest.raises(SystemExit) as error:
            cli.main(["likelihood", *words, "--device", device])
        assert str(error.value).startswith(message)


def test_what_cannot_be_written_is_one_sentence(home):
    (home.path / "file").write_text("")
    said = refused("sample", checkpoint=home.path / "joint", classes=1, count=1,
                   output=home.path / "file/grid.png")  # fmt: skip
    assert f"{home.path}/file" in said


def test_a_folder_that_is_no_checkpoint(home):
    (home.path / "ar/run.json").write_text('{"shape": 3}')
    path = write(home.path / "t.npz", tokens=np.zeros((1, 16), int))
    said = refused("likelihood", checkpoint=home.path / "ar", tokens=path)
    assert said.startswith(f"{home.path}/ar/run.json states no settings; name the folder of a")


def test_help_and_comparison_load_no_torch():
    import subprocess
    import sys

    code = (
        "import sys\nfrom gear.cli import main as cli\n"
        "try:\n    cli.main(['compare', '/nowhere', '/nowhere'])\nexcept SystemExit: pass\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pandas')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("compare", "plan", "reconstruct", "sample", "likelihood"):
        assert f"    {name} " in done.stdout


@pytest.mark.parametrize("verb", ["sample", "likelihood", "reconstruct"])
def test_a_run_without_its_step_names_the_steps(home, verb):
    for step in ("100k", "400k"):
        shutil.copytree(home.path / "joint", home.path / "run" / step)
    options = {
        "sample": {"checkpoint": home.path / "run", "classes": 1, "output": home.path / "x.png"},
        "likelihood": {"checkpoint": home.path / "run", "tokens": home.path / "t.npz"},
        "reconstruct": {"tokenizer": home.path / "run", "output": home.path / "x"},
    }[verb]
    if verb == "reconstruct":
        Image.new("RGB", (20, 20)).save(home.path / "a.png")
        options["images"] = home.path
        options["output"] = home.path.parent / "x"
    said = refused(verb, **options)
    assert "name one of the run's steps" in said
    assert "run/100k, " in said and said.endswith("run/400k.")


def test_a_misspelt_option_is_named_before_those_that_are_missing(capsys):
    for words, said in (
        (["sample", "--checkpiont", "x"], "no option --checkpiont. Did you mean '--checkpoint'?"),
        (["plan", "--studi=demo"], "no option --studi. Did you mean '--study'?"),
        (["plan", "--study", "demo", "--targt=x"], "--targt. Did you mean '--target'?"),
        (["plann", "--study", "demo"], "invalid choice: 'plann'"),
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        assert said in capsys.readouterr().err
