"""The command line: understudy SUBCOMMAND."""
