"""Results by DVC, and what Snakemake knows of them by git.

A *unit* is a folder of results, such as results/demo/joint/gear-l/400k. Its small files are git's,
its large ones DVC's. Beside it lie `<unit>.dvc`, if it has large files, and `<unit>.prov.json`: how
each file was made, with the sha256 of it and of all that it was made from. From these records a
fresh clone gets back what Snakemake knew, so that it plans what is out of date and nothing else.

    records.py   Snakemake's own records, whose format is private
    units.py     units, their provenance, the content of files
    store.py     calls of dvc and git
    save.py  restore.py  check.py   what the commands do
    accepted.py  results that count as made although code has changed
"""
