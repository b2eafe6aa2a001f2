"""SUPERB's recipes from raw corpora to a table of scores.

The way of a benchmark (`s3prl-fusion superb`, or `./run_superb.sh`)::

    command.py     the command line; options.py checks it, every user error is raised before any training
    tasks.py       one row a task: recipe, config, splits, files, metric
    prepare.py     what the recipes need beside the user's LibriSpeech, VoxCeleb1 and IEMOCAP
    corpora.py     where it all is; librispeech.py, voxceleb1.py and iemocap.py read and check one corpus each
    demo.py        the same three layouts from the recordings in demo/corpus (effects.py: styles and channels)
    plan.py        tasks x upstreams x folds x learning rates x seeds
    experiment.py  one of them: its folder, its files, its commands
    launch.py      runs a plan here, or as Slurm jobs (slurm.py); search.py: which learning rate
    pipeline.py    train -> evaluate -> score for each experiment, several at a time
    stages.py      one stage: its child process, its log, its stamp (skipped when done, resumed when not)
    progress.py    live bars on a terminal, plain lines elsewhere
    score.py       one expdir's score.json; scoring.py: the metrics, recomputed from the written files
    results.py     which score files count; tables.py, chart.py and report.py: what they are shown in
    compare.py     a paired bootstrap between two experiments
    leaderboard.py the leaderboard's numbers; published.py: what is comparable of them, and of the paper's
    submission.py  predict.zip, complete or not at all; entry.py and form.py: what the web form asks for

Everything that trains runs in a child process, `python -m s3prl_fusion run ...`, which is s3prl's own recipe.
Importing this package imports neither torch nor s3prl.
"""
