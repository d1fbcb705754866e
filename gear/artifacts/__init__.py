"""Saved results: large files in DVC, small files and provenance records in git.

A *unit* is one of these: a run, such as results/demo/joint/gear-l, with all its milestones,
samples, scores and analyses; all data; or another folder of results, such as that of the tables.
git keeps the small files of a unit, DVC the large ones. `<unit>.dvc` names the large files, if
there are any. The record `<unit>.prov.json` has for each file how and in how many seconds it was
made, its sha256, and the sha256 of all its inputs. From the records a fresh clone restores
Snakemake's own records, so that Snakemake plans only what is out of date.

Two kinds of files are in neither git nor DVC: benchmark files, because the records have their
seconds, and the tables' pages (.html), because only `snakemake --report` needs them.

    records.py   Snakemake's own records, whose format is private
    units.py     units, their records, and the content of files
    store.py     calls of dvc and git
    save.py  restore.py  transfer.py  check.py   the commands
    accepted.py  results that count as up to date although code has changed
    times.py     the seconds of a job
"""
