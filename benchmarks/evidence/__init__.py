"""What fusing does to scores on the demo's corpora: `make evidence` runs it, and docs/evidence.md shows it.

runs.py        what is run, as data: the parts
capacity.py    of these, the controls of capacity
rows.py        a run as a row of docs/evidence/runs.csv, from which everything else follows
__main__.py    runs what has no row yet, and makes the page
cells.py       the rows, cell by cell: gains with intervals, choices on dev
rule.py        does fusing lose to the best single member?
page.py        docs/evidence.md's tables
pictures.py    its pictures
validation.py  does `select` rank sets as these runs do? docs/select.md's table
"""
