"""Which upstreams to fuse, told by short trainings on a sample of train and dev.

    options.py     what the command line asks for, checked before anything is written
    draw.py        which clips: seeded and stratified
    sample.py      the sampled corpora, laid out as recipes read them (layout.py, corpora/); test is a part of dev
    recipes.py     the recipes' settings for short runs
    sets.py        members, and the sets of them that are tried, as upstreams of `superb`
    search.py      singles, then sets around the best, until nothing can win
    known.py       what members cost (costs.py), and what others know of them (redundancy.py), measured once
    capacity.py    the best single member with as many trained parameters as a set

Every training is one of `superb`, with its folder, logs, stamps, Slurm and cache. The test sets are never laid out.
"""
