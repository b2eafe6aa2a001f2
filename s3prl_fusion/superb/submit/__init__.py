"""What the leaderboard gets: submission.py packs predict.zip, entry.py and form.py answer its web form."""
