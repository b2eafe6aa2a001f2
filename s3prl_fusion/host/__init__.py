"""The only folder that imports s3prl's internals or changes anything in it. Every change is undone by unregister()."""
