"""Hidden states of frozen members on disk.

config.py   where they are kept, and how
key.py      what they are found by: a waveform, below all that the member's states depend on
codec.py    how they are rounded
store.py    the files
states.py   a member's states, from the disk where they are there
"""
