"""What fusing does to scores on the demo's corpora: `make evidence` runs it, and docs/evidence.md shows it.

runs.py      what is run, as data: the parts
rows.py      a run as a row of docs/evidence/runs.csv, from which everything else follows
__main__.py  runs what has no row yet
"""
