"""`kubectl understudy rollback NAME NUMBER`: a verb like the others, with the number that `history` shows."""

import argparse

from understudy.cli.plugin import request

EPILOG = """\
  kubectl understudy history storyteller         which numbers there are
  kubectl understudy rollback storyteller 3      what was promoted as number 3 serves again

The pods come back from the record, as they were. What the spec asks for now does not start again by itself: ask with
`retry`, or write something else into the spec, and the rollback is over.
"""
run = request.run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `rollback`."""
    request.add_arguments(parser)
    parser.add_argument("number", type=_number, metavar="NUMBER", help="as `kubectl understudy history` shows it")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a promotion, such as 3")
    return int(text)
