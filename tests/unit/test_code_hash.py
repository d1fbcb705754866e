"""What counts as code when a rule is planned again: not comments, docstrings, formatting, messages.

Every module that some rule counts is rewritten in these ways and must keep its hash; a changed
constant, call or branch must change it. Equality over versions of Python is tested on a text whose
hash was computed with 3.11, 3.12 and 3.13.
"""

import ast

import pytest

from gear.files.hashes import ROOT, code_hash
from gear.study import jobs

FILES = sorted({path for patterns in jobs.CODE.values() for p in patterns for path in ROOT.glob(p)})
MODULE = '''\
"""What it is."""

import math as m  # a comment


class A(Base):
    """A class."""

    x: int = 3  # one

    def f(self, a, *, b=None, **c):
        """Returns more."""
        if a is None:
            raise ValueError(f"a is {a}; give one.")
        return [f"{a!r:>{b}}" for a in self.g(a, b) if not m.isnan(a)] or {"k": (1, 2.5, None, ...)}


async def g(x, /, y):
    match x:
        case {"a": [1, *rest]}:
            return lambda z: z + y
    try:
        yield x
    except (KeyError, OSError) as error:
        raise Other(str(error)) from None
'''


def hash_of(folder, text):
    (folder / "module.py").write_text(text, encoding="utf-8")
    return code_hash(["*.py"], root=folder)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_and_formatting_are_free(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    whole = hash_of(tmp_path, text)
    assert hash_of(tmp_path, "# a comment\n" + text.replace("\n\n\n", "\n\n\n# another\n")) == whole
    # no comment is left, every line is laid out anew
    assert hash_of(tmp_path, ast.unparse(ast.parse(text))) == whole
    tree = ast.parse(text)
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node):
            node.body[0].value.value = "Another docstring."
    assert hash_of(tmp_path, ast.unparse(tree)) == whole


@pytest.mark.parametrize(
    "old, new",
    [
        ("a is {a}; give one.", "there is no a."),
        ('        """Returns more."""\n', ""),
        ("  # one", ""),
        ("raise Other(str(error)) from None", "raise Other"),
    ],
)
def test_words_are_free(old, new, tmp_path):
    assert old in MODULE
    assert hash_of(tmp_path, MODULE) == hash_of(tmp_path, MODULE.replace(old, new))


@pytest.mark.parametrize(
    "old, new",
    [
        ("x: int = 3", "x: int = 4"),
        ("None, ...)", "0, ...)"),
        ("2.5", "2.6"),
        ('{"k": (1', '{"k": ("", 1'),
        ("not m.isnan", "m.isnan"),
        ("b=None", "b=0"),
        ("/, y", "y"),
        ("z + y", "z - y"),
        ("raise ValueError", "return ValueError"),
        ("{a!r:>{b}}", "{a!s:>{b}}"),
        ("(KeyError, OSError)", "KeyError"),
        ("import math as m", "import cmath as m"),
    ],
)
def test_a_change_of_code_changes_the_hash(old, new, tmp_path):
    assert old in MODULE
    assert hash_of(tmp_path, MODULE) != hash_of(tmp_path, MODULE.replace(old, new))


def test_every_version_of_python_has_this_hash(tmp_path):
    assert hash_of(tmp_path, MODULE) == "a2ad30c9547d"


def test_what_is_counted_where():
    assert FILES and all(list(ROOT.glob(p)) for patterns in jobs.CODE.values() for p in patterns)
    scores = {p for pattern in jobs.CODE["scores"] for p in ROOT.glob(pattern)}
    counted = {str(p.relative_to(ROOT)) for p in scores}
    assert {"gear/metrics/frechet.py", "gear/tokenizer/vqgan.py", "gear/runtime/rng.py"} <= counted
    assert not any("runtime/loop" in p or "loggers" in p or "progress" in p for p in counted)
    assert jobs.code("scores") != jobs.code("report")


def test_the_hashes_of_unchanged_code_are_kept(tmp_path, monkeypatch):
    file, found = tmp_path / "folder" / "codes.json", [jobs.code(kind) for kind in jobs.CODE]
    assert jobs.codes(file) == found
    monkeypatch.setattr(jobs, "code_hash", lambda patterns: pytest.fail("computed again"))
    assert jobs.codes(file) == found


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"scores": 3}', '{"scores": ["a", "b"]}'])
def test_kept_hashes_of_other_code_are_not_used(tmp_path, text):
    file = tmp_path / "codes.json"
    file.write_text(text, encoding="utf-8")
    assert jobs.codes(file) == [jobs.code(kind) for kind in jobs.CODE]


def test_where_they_cannot_be_kept_nothing_is_lost(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert jobs.codes(tmp_path / "file" / "codes.json") == [jobs.code(k) for k in jobs.CODE]
