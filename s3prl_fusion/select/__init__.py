"""Which upstreams to fuse, told by short trainings on a sample of train and dev.

    options.py     what the command line asks for, checked before anything is written
    plan.py        one call: what is tried, and the trainings of each candidate
    draw.py        which clips: seeded and stratified
    sample.py      the sampled corpora, laid out as recipes read them (layout.py, corpora/); test is a part of dev
    recipes.py     the recipes' settings for short runs
    sets.py        members, and the sets of them that are tried, as upstreams of `superb`
    search.py      singles, then sets around the best, until nothing can win
    known.py       what members cost (costs.py), and what others know of them (redundancy.py), measured once
    capacity.py    the best single member with as many trained parameters as a set
    trials.py      what runs say; choice.py: what is recommended; report.py: table, sentence, pictures, commands

Every training is one of `superb`, with its folder, logs, stamps, Slurm and cache. The test sets are never laid out.
"""
