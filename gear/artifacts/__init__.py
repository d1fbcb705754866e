"""Results by DVC, and what Snakemake knows of them by git.

A *unit* is a run, such as results/demo/joint/gear-l, with all its milestones, samples, scores and
analyses; or all data; or another folder of results, such as a teacher's or the tables'. Its small
files are git's, its large ones DVC's. Beside it lie `<unit>.dvc`, if it has large files, and its
record `<unit>.prov.json`: how each file was made, in how many seconds, with the sha256 of it and of
all that it was made from. From the records a fresh clone gets back what Snakemake knew, so that it
plans what is out of date and nothing else.

Neither git nor DVC keeps benchmark files, whose seconds the records have, and the tables' pages
(.html), which only `snakemake --report` needs and makes anew from small files.

    records.py   Snakemake's own records, whose format is private
    units.py     units, their records, the content of files
    store.py     calls of dvc and git
    save.py  restore.py  check.py   what the commands do
    accepted.py  results that count as made although code has changed
"""
