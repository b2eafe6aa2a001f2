"""The commands, one file each, named as on the command line: ``add_arguments(parser)`` and ``main(args) -> int``."""
