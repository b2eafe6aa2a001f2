"""Which upstreams to fuse, told by short trainings on a sample of train and dev."""
