"""SUPERB's recipes from raw corpora to a table of scores.

The way of a benchmark (`s3prl-fusion superb`, or `./run_superb.sh`)::

    command.py     the command line; every user error is raised before any training
    tasks.py       one row a task: recipe, config, splits, files, metric
    prepare.py     what the recipes need beside the user's LibriSpeech, VoxCeleb1 and IEMOCAP (corpora.py)
    demo.py        the same three layouts from the recordings in demo/corpus (effects.py: styles and channels)
    experiment.py  one upstream under one task and fold: its folder, its files, its commands
    pipeline.py    train -> evaluate -> score for each experiment, several at a time
    stages.py      one stage: its child process, its log, its stamp (skipped when done, resumed when not)
    progress.py    live bars on a terminal, plain lines elsewhere
    scoring.py     the score, recomputed from the written files and compared with the recipe's own
    report.py      results.md, results.csv, runs.csv, results.png

Everything that trains runs in a child process, `python -m s3prl_fusion run ...`, which is s3prl's own recipe.
Importing this package imports neither torch nor s3prl.
"""
