"""Files that a command will write: known to be free and writable before its work begins."""

import os

import pytest
from PIL import Image

import gear
from gear.cli import main as cli
from gear.files.mistakes import Mistake
from gear.files.outputs import all_or_none, require_free, require_writable_folder
from gear.files.reading import require_file


def said(paths, **options):
    with pytest.raises(Mistake) as error:
        require_free(paths, **options)
    return str(error.value)


def test_new_files_leave_nothing_behind(tmp_path):
    require_free({"output": tmp_path / "a/b/c.png", "tokens": tmp_path / "t.npz", "more": None})
    assert list(tmp_path.iterdir()) == []


def test_a_users_file_stays_without_force(tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_text("mine")
    sentence = f"`output` {mine} is there already; name another file, remove it, or add `force`."
    assert said({"output": mine}) == sentence
    require_free({"output": mine}, force=True)
    assert mine.read_text() == "mine"


def refused_to_others(check, path):
    """The sentence that a user who is not root gets, from a fork; '' where there is none."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        text = "another error"
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            check(path)
            text = ""
        except Mistake as error:
            text = str(error)
        finally:
            os.write(write, text.encode())
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read) as said:
        return said.read()


def test_what_a_user_may_not_read_or_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "r/tables").mkdir(parents=True)
    (tmp_path / "r").chmod(0o777)
    (tmp_path / "r/x.npz").write_text("x")
    (tmp_path / "r/tables").chmod(0o777)
    assert refused_to_others(require_writable_folder, "r") == ""
    (tmp_path / "r/tables").chmod(0o555)
    assert "r/tables cannot be written; see" in refused_to_others(require_writable_folder, "r")
    (tmp_path / "r").chmod(0o555)
    assert "r cannot be written (Permission denied)" in refused_to_others(
        require_writable_folder, "r"
    )
    assert refused_to_others(require_file, "r/x.npz") == ""
    (tmp_path / "r/x.npz").chmod(0)
    assert (
        refused_to_others(require_file, "r/x.npz")
    ) == "r/x.npz cannot be read (Permission denied); see that you may read it."
    (tmp_path / "r").chmod(0o755)


def test_a_failed_command_can_be_run_again(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("mine")
    with pytest.raises(KeyError), all_or_none([old, None, new]):
        new.write_text("half")
        raise KeyError
    assert old.read_text() == "mine" and not new.exists()


def test_two_outputs_or_an_input_at_one_path(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    a = tmp_path / "a.npz"
    same = tmp_path / "link" / "a.npz"
    assert said({"output": a, "tokens": same}) == (
        f"`tokens` and `output` are both {same}; name two files."
    )
    a.write_text("read")
    assert f"is also {a}, which is read;" in said({"output": same}, force=True, inputs=[a])


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert said({"": tmp_path}) == f"{tmp_path} is a folder; name a file."
    assert "is no ordinary file" in said({"": tmp_path / "pipe"}, force=True)
    assert "is no ordinary file" in said({"": "/dev/null"}, force=True)
    for path in (tmp_path / "file/x.png", "/proc/x.npz", tmp_path / ("x" * 300)):
        assert f"`output` {path} cannot be written (" in said({"output": path})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "pipe"]


EMPTY = [
    ("reconstruct --tokenizer t --output o --images=", "images"),
    ("reconstruct --tokenizer t --images i --output=", "output"),
    ("sample --checkpoint c --classes 3 --output o.png --tokenizer=", "tokenizer"),
    ("evaluate --samples= --protocol adm", "samples"),
    ("plan --study demo --results=", "results"),
    ("doctor --study demo --results=", "results"),
    ("likelihood --tokens t --checkpoint=", "checkpoint"),
]


@pytest.mark.parametrize("line, name", EMPTY)
def test_an_empty_path_is_not_the_working_directory(line, name):
    with pytest.raises(SystemExit) as error:
        cli.main(line.split())
    assert str(error.value) == f"gear: --{name} is empty; write a value, or leave it out."


def test_outputs_are_looked_at_before_the_checkpoint(tmp_path):
    """No checkpoint is there, and it is not what the sentence is about."""
    mine = tmp_path / "mine.png"
    Image.new("L", (4, 4)).save(mine)
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "images/mine.png")
    sample = f"sample --checkpoint {tmp_path}/none --classes 3 --output"
    reconstruct = f"reconstruct --tokenizer {tmp_path}/none --images {tmp_path}/images --output"
    lines = {
        f"{sample} {mine}": f"--output {mine} is there already;",
        f"{sample} x.png --tokens x.png": "--tokens and --output are both x.png; name two files.",
        f"{sample} x.png --tokens /proc/x.npz": "--tokens /proc/x.npz cannot be written (",
        f"{reconstruct} {tmp_path}": f"--output {tmp_path} and --images",
        f"{reconstruct} {tmp_path}/o --tokens {mine}": f"--tokens {mine} is there already;",
        f"{reconstruct} {tmp_path}/o --tokens {tmp_path}/o/mine.png": "is also the name of an im",
    }
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.png").write_text("theirs")
    lines[f"{reconstruct} {tmp_path}/taken"] = f"{tmp_path}/taken/mine.png is there already; name"
    for line, sentence in lines.items():
        with pytest.raises(SystemExit) as error:
            cli.main(line.split())
        assert sentence in str(error.value)
    assert (tmp_path / "taken/mine.png").read_text() == "theirs"


def test_a_reference_is_not_written_over(tmp_path):
    kept = tmp_path / "kept.npz"
    kept.write_text("theirs")
    line = f"evaluate --protocol adm --samples {kept} --reference {kept} --save-reference {kept}"
    for more, sentence in (("", f"is also {kept}, which is read"), (" --force", "which is read")):
        with pytest.raises(SystemExit) as error:
            cli.main((line + more).split())
        assert sentence in str(error.value)
    assert kept.read_text() == "theirs"


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_results_that_are_not_there_are_said(tmp_path, command, monkeypatch, capsys):
    monkeypatch.setattr("gear.cli.doctor.main", lambda *_: 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as error:
        cli.main([command, "--study", "smoke", "--results", str(tmp_path / "file")])
    assert str(error.value).startswith(f"gear: --results {tmp_path}/file is a file; name")
    cli.main([command, "--study", "smoke", "--results", str(tmp_path / "none")])
    said = f"gear: {tmp_path}/none does not exist, so nothing counts as made yet\n"
    assert capsys.readouterr().err == said
    cli.main([command, "--study", "smoke", "--results", str(tmp_path)])
    assert capsys.readouterr().err == ""


def test_an_empty_path_is_refused_in_python_too():
    for call in (
        lambda: gear.load(""),
        lambda: gear.load("x", tokenizer=" "),
        lambda: gear.evaluate("", "x", protocol="adm"),
    ):
        with pytest.raises(Mistake, match="is empty; name the f"):
            call()
