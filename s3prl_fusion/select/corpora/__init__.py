"""How each corpus is sampled: from what `prepare` made of its train and dev, never from its test set."""
