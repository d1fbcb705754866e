"""Files of prompts: what is read, and what is refused with the number of its line."""

import pytest

from gear.t2i import prompts


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, text):
    with pytest.raises(ValueError) as error:
        prompts.read_prompts(written(path, text))
    said = str(error.value)
    assert type(error.value).__name__ == "Mistake" and "\n" not in said and str(path) in said
    return said.removeprefix(f"{path}, ")


def test_a_text_file_has_one_prompt_a_line(tmp_path):
    text = "\ufeffa bold seven\r\n  日本\x00語 \nlast, \u2028 without an end"
    found = prompts.read_prompts(written(tmp_path / "p.txt", text))
    assert [prompt.key for prompt in found] == ["000000", "000001", "000002"]
    captions = ["a bold seven", "  日本\x00語 ", "last, \u2028 without an end"]
    assert [prompt.caption for prompt in found] == captions
    assert found[0].line == {}


def test_json_lines_keep_their_fields(tmp_path):
    text = '{"key": "b-1", "caption": "x", "tag": [1]}\n{"key": 7, "prompt": "y\\n"}\n'
    text += '{"prompt": "z"}\n'
    found = prompts.read_prompts(written(tmp_path / "p.jsonl", text))
    assert [(p.key, p.caption) for p in found] == [("b-1", "x"), ("7", "y\n"), ("000002", "z")]
    assert found[0].line == {"key": "b-1", "caption": "x", "tag": [1]}


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl"])
def test_blank_lines_are_refused_with_their_number(tmp_path, name):
    line = '{"prompt": "a"}'
    assert "line 2, is blank" in refused(tmp_path / name, f"{line}\n \n{line}\n")
    assert "line 2, is blank" in refused(tmp_path / name, f"{line}\n\n")
    assert "has no prompt" in refused(tmp_path / name, "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"', "line 2, is no JSON"),
        ("[" * 100_000, "line 2, is no JSON"),
        ("a bold seven", "line 2, is no JSON"),
        ("[1]", "line 2, is a list; write a mapping"),
        ('{"text": "a"}', "line 2, has neither 'caption' nor 'prompt'"),
        ('{"caption": "a", "prompt": "b"}', "line 2, has both 'caption' and 'prompt'"),
        ('{"caption": null}', "line 2, 'caption' is 'null' and no text"),
        ('{"prompt": 5}', "line 2, 'prompt' is the number 5 and no text"),
        ('{"prompt": " "}', "line 2, 'prompt' is empty"),
        ('{"prompt": "a", "key": true}', "line 2, has the key 'true'"),
        ('{"prompt": "a", "key": 1.5}', "line 2, has the key the number 1.5"),
        ('{"prompt": "a", "key": "A"}', "line 2, has the key 'A' of line 1"),
        ('{"prompt": "a", "key": "000000"}', "line 2, has the key '000000' of line 3"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, line, said):
    first = '{"prompt": "a", "key": "a"}' if "line 3" not in said else line
    text = f"{first}\n{line}\n"
    found = refused(tmp_path / "p.jsonl", text)
    assert said.replace("line 3", "line 1") in found


@pytest.mark.parametrize(
    "key", ["", "../a", "a/b", "a\\b", ".", "-a", "a\n", "x" * 151, "a ", "a?"]
)
def test_a_key_that_names_no_file(tmp_path, key):
    import json

    said = refused(tmp_path / "p.jsonl", json.dumps({"key": key, "prompt": "a"}))
    assert "line 1, has the key" in said and "cannot name a file" in said


def test_other_files_are_refused(tmp_path):
    assert "does not end in .txt or .jsonl" in refused(tmp_path / "p.csv", "a\n")
    assert "not UTF-8" in refused(tmp_path / "p.txt", b"\xff\xfe")
    with pytest.raises(ValueError, match="none.txt is missing; name a file of prompts"):
        prompts.read_prompts(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ValueError, match="is a folder and no file"):
        prompts.read_prompts(tmp_path / "folder.txt")


def test_texts_of_a_command():
    found = prompts.of_texts(["a", "a"])
    assert [prompt.key for prompt in found] == ["000000", "000001"]
    with pytest.raises(ValueError, match="prompt 2 is empty; write what the picture shows"):
        prompts.of_texts(["a", " "])


def test_prompts_of_more_than_10000_characters_are_said():
    found = prompts.of_texts(["a", "x" * 10_001, "y" * 10_001])
    assert "prompt 000001 has more than 10,000 characters (2 such)" in prompts.too_long(found)
    assert prompts.too_long(prompts.of_texts(["x" * 10_000])) is None
