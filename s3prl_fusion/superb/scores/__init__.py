"""Scores, recomputed from the files that the evaluations wrote.

scoring.py      the metrics; score.py: one expdir's score.json, held against the recipe's log
kept.py         a score.json read again, where it still follows from the files beside it
results.py      which score files count; report.py: tables.py and chart.py of them
compare.py      a paired bootstrap between two experiments; verdict.py: between fused rows and their members alone
leaderboard.py  the leaderboard's numbers and score; published.py: what of them, and of the paper's, is comparable
"""
