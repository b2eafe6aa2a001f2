"""The command line's smaller commands, one file each: ``HELP``, ``add_arguments(parser)`` and ``main(args) -> int``."""
