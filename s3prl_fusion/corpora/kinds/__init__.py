"""What can be done with a user's own corpus: a file each, that makes of a table what one of s3prl's recipes reads.

Each has ``corpus(table)``, which checks the rows, and opens no sound file.
"""
