"""The corpora, one file each with a `base.Corpus`: what it may be given, what is checked, what is made beside it.

Corpora stay where they are, and are only read. demo.py makes the same layouts from the recordings in demo/corpus, with
the styles and channels of demo_effects.py; inventory.py tells which files have changed since they were read;
transcripts.py reads LibriSpeech's, for PR's data set too.
"""
