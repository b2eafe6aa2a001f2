"""SUPERB's recipes from raw corpora to a table of scores and a submission.

    tasks.py    one row a task: recipe, config, splits, files, metric
    data/       the corpora, and what the recipes need beside them
    runs/       `s3prl-fusion superb`, or `./run_superb.sh`: train -> evaluate -> score, here or as Slurm jobs
    scores/     what the evaluations wrote, as scores, tables, a chart and comparisons
    submit/     predict.zip and the leaderboard's form

Everything that trains runs in a child process, `python -m s3prl_fusion run ...`, which is s3prl's own recipe.
Importing this package imports neither torch nor s3prl.
"""
