"""Paths and names that a shell would read as commands are paths and names, or are refused.

Every kind of place where a study's words reach a command line is tried with words that would make
a file: were they run, the file would be there. A whole run into a folder with spaces must give the
same tables as one into results/. tests/unit/test_configchecks.py tries more of them, without jobs.
"""

import pytest

NASTY = "data/größe λ;touch ran;$(touch ran) 'q\" & *"


def last_line(text):
    return [line for line in text.splitlines() if line.strip()][-1]


def nothing_ran(checkout):
    return not [path for path in checkout.folder.rglob("ran*") if path.name in ("ran", "ran;")]


def write(checkout, file, old, new):
    path = checkout.folder / "config" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_data_path_that_looks_like_commands_is_a_folder(edited_checkout):
    quoted = NASTY.replace("\\", "\\\\").replace('"', '\\"')
    write(edited_checkout, "studies/smoke.yaml", "path: data/digits-smoke,", f'path: "{quoted}",')
    target = "elsewhere/smoke/teacher/dinov2/weights.safetensors"  # made of the manifest's images
    status, text = edited_checkout.snakemake(target, results="elsewhere")
    assert status == 0, text[-3000:]
    assert (edited_checkout.folder / NASTY / "manifest.json").is_file() and nothing_ran(
        edited_checkout
    )
    assert (edited_checkout.folder / target).is_file()


@pytest.mark.parametrize(
    "old, new, sentence",
    [
        ("  plain: {images", '  "a;touch ran": {images', "'a;touch ran' cannot be the name of a s"),
        ("path: data/digits-smoke,", "path: --help,", "begins with '-', as an option does"),
    ],
)
def test_a_name_or_path_that_cannot_be_is_refused_before_any_job(
    edited_checkout, old, new, sentence
):
    write(edited_checkout, "studies/smoke.yaml", old, new)
    status, text = edited_checkout.snakemake("all")
    assert status != 0 and sentence in last_line(text), text
    assert last_line(text).startswith("gear: ") and nothing_ran(edited_checkout)


@pytest.mark.parametrize(
    "results, sentence",
    [
        ("a: b", "is no text"),
        ("{run}", "is no text"),  # YAML's {run: null}
        ("-a", "begins with '-'"),
    ],
)
def test_results_that_cannot_be_a_folder_are_refused(checkout, results, sentence):
    status, text = checkout.snakemake("-n", "quick", results=results)
    assert status != 0 and sentence in last_line(text), text


def test_a_run_into_a_folder_with_spaces_has_the_bytes_of_the_first(checkout):
    """Also: two builds from nothing are equal."""
    results = checkout.folder / "x y;touch ran;" / "größe λ"
    before = {path.name for path in checkout.folder.iterdir()}
    status, text = checkout.snakemake("quick", results=str(results))
    assert status == 0, text[-3000:]
    names = [f"tables/overview.{form}" for form in ("csv", "md", "tex")]
    for name in (*names, "figures/samples.csv"):
        ours, theirs = results / "smoke" / name, checkout.folder / "results/smoke" / name
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert {path.name for path in checkout.folder.iterdir()} - before == {"x y;touch ran;"}
    assert checkout.planned("quick", results=str(results)) == {}
    status, text = checkout.run("gear", "compare", str(results / "smoke"), "results/smoke")
    assert status == 0 and " 0 within, 0 different, 0 missing" in text
