"""A benchmark's runs.

options.py     what the command line asks for, checked: every user error is raised before any training
upstreams.py   which upstreams it asks for; auto.py: candidates among which dev scores choose, and the choice
plan.py        tasks x upstreams x folds x learning rates x seeds
experiment.py  one of them: its folder, its files, its commands
launch.py      runs a plan, here (pipeline.py) or as Slurm jobs (slurm.py); search.py: which learning rate
stages.py      one stage: its child process, its log, its stamp (skipped when done, resumed when not)
progress.py    live bars on a terminal, plain lines elsewhere
"""
