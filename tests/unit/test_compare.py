"""`gear compare`: is a result reproduced?

Two folders of tables differ in known cells; the output and the exit status are compared.
"""

import pytest
from fakes import HEAD

from gear.report import compare


def write_tables(folder, name, *cells):
    """A table with (row, metric, seed_n, ours, ours_sd) cells."""
    path = folder / "tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [HEAD] + [
        f"{name},{row},run,400k,400,{n},,demo,{metric},{ours},{sd},,,,trained"
        for row, metric, n, ours, sd in cells
    ]
    path.write_text("\n".join(text) + "\n")


def test_compare_tells_equal_within_and_different(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    write_tables(b, "t", ("x", "gfid", 3, "10", "1"), ("y", "gfid", 1, "10", ""),
                 ("z", "usage", 1, "1", ""), ("w", "gfid", 1, "diverged", ""))  # fmt: skip
    assert compare.compare(b, b, strict=True) == 0
    assert "4 equal, 0 within, 0 different, 0 missing." in capsys.readouterr().out
    write_tables(a, "t", ("x", "gfid", 3, "13", "9"), ("y", "gfid", 1, "11.4", ""),
                 ("z", "usage", 1, "1", ""), ("w", "gfid", 1, "diverged", ""))  # fmt: skip
    assert compare.compare(a, b, strict=True) == 0
    assert "2 equal, 2 within, 0 different" in capsys.readouterr().out
    write_tables(a, "t", ("x", "gfid", 3, "13.1", "9"), ("y", "gfid", 1, "12", ""),
                 ("z", "usage", 1, "0.9", ""))  # fmt: skip
    assert compare.compare(a, b) == 0
    out = capsys.readouterr().out
    assert "0 equal, 0 within, 3 different, 1 missing." in out
    assert "different  t: x@400k, gfid: 13.1, not 10, allowed ± 3" in out
    assert f"missing    t: w@400k, gfid: only in {b}" in out
    assert compare.compare(a, b, strict=True) == 1


def test_compare_names_missing_tables_and_folders(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    write_tables(a, "t", ("x", "gfid", 1, "10", ""))
    with pytest.raises(ValueError, match="holds no tables/.*make demo"):
        compare.compare(a, b)
    write_tables(b, "t", ("x", "gfid", 1, "10", ""))
    write_tables(b, "u", *[(f"r{i}", "gfid", 1, "10", "") for i in range(30)])
    assert compare.compare(a, b) == 0 and compare.compare(a, b, strict=True) == 1
    assert f"only in {b}: u\n" in capsys.readouterr().out
    write_tables(a, "u", *[(f"r{i}", "gfid", 1, "99", "") for i in range(30)])
    compare.compare(a, b)
    out = capsys.readouterr().out
    assert out.count("\ndifferent  ") == 20 and "and 10 more" in out


def test_a_table_that_names_a_cell_twice(tmp_path):
    """Which of the two counts would be a guess; two equal lines say one thing."""
    write_tables(tmp_path, "t", ("x", "gfid", 1, "10", ""), ("x", "gfid", 1, "10", ""))
    assert compare.compare(tmp_path, tmp_path, strict=True) == 0
    write_tables(tmp_path, "t", ("x", "gfid", 1, "10", ""), ("x", "gfid", 1, "11", ""))
    with pytest.raises(ValueError, match=r"t.csv has two values of gfid for row 'x' 400k; make"):
        compare.compare(tmp_path, tmp_path)


@pytest.mark.parametrize("change", [lambda line: line + ",1", lambda line: line[:-8]])
def test_a_table_whose_lines_do_not_fit_its_head(tmp_path, change):
    write_tables(tmp_path, "t", ("x", "gfid", 1, "10", ""))
    head, line = (tmp_path / "tables/t.csv").read_text().splitlines()
    (tmp_path / "tables/t.csv").write_text(f"{head}\n{change(line)}\n")
    with pytest.raises(ValueError, match=r"t.csv, row 1, has 1\d cells and its head 1\d; make"):
        compare.compare(tmp_path, tmp_path)


def test_the_end_says_why_cells_differ_and_how_many_verdicts_are_equal(tmp_path, capsys):
    a, b = tmp_path / "a", tmp_path / "b"
    write_tables(a, "t", ("x", "usage", 1, "0.5", ""))
    write_tables(b, "t", ("x", "usage", 1, "1", ""))
    for folder, verdict in ((a, "not reproduced"), (b, "reproduced")):
        text = f"claim,source,verdict\nA,x,reproduced\nB,x,{verdict}\n"
        (folder / "tables/claims.csv").write_text(text)
    compare.compare(a, b)
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last[0].startswith("Another processor gives other trainings")
    assert last[1] == "Verdicts of the claims: 1 of 2 equal."
    compare.compare(b, b)
    last = capsys.readouterr().out.splitlines()[-2:]
    assert not last[0].startswith("Another") and last[1].endswith("2 of 2 equal.")


def test_two_studies_are_not_compared(tmp_path):
    for name in ("demo", "smoke"):
        write_tables(tmp_path / name, "t", ("x", "usage", 1, "1", ""))
    with pytest.raises(ValueError, match="demo is of study demo, .*smoke of study smoke; name two"):
        compare.compare(tmp_path / "demo", tmp_path / "smoke")
    compare.compare(tmp_path / "demo", tmp_path / "demo")
