"""The corpora: read, checked and counted, never written to.

corpora.py  where everything is; librispeech.py, voxceleb1.py and iemocap.py know one corpus each
prepare.py  what the recipes need beside them: `s3prl-fusion prepare`
demo.py     the same three layouts from the recordings in demo/corpus (effects.py: styles and channels)
"""
