"""`python -m tests.load`: talk to a served name from the command line until Ctrl-C, and say every second who answers.

For rollouts by hand: start it in one terminal, edit the ModelDeployment in another.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.load.traffic import Record, Traffic, flips


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    made.add_argument("model", help="served name, such as storyteller")
    made.add_argument("--url", default="http://127.0.0.1:30080", help="base URL of the gateway")
    made.add_argument("--key", default=os.environ.get("KEY", ""), help="access key; otherwise the variable KEY")
    made.add_argument("--streams", type=int, default=8, help="conversations at the same time")
    made.add_argument("--tokens", type=int, default=8, help="length of an answer")
    made.add_argument("--long-streams", type=int, default=0, help="further conversations with long answers")
    made.add_argument("--long-tokens", type=int, default=350, help="length of a long answer")
    made.add_argument("--seconds", type=float, default=0, help="stop after so many seconds; 0 runs until Ctrl-C")
    return made


def main(argv: list[str] | None = None) -> int:
    """Exit status 1 if a request failed, an answer was cut short or a conversation went back and forth."""
    args = parser().parse_args(argv)
    traffic = Traffic(args.url, args.key, args.model, args.streams, args.tokens, args.long_streams, args.long_tokens)
    with traffic:
        _watch(traffic, time.monotonic() + args.seconds if args.seconds else float("inf"))
        sys.stdout.write("waiting for open answers to end\n")
    sys.stdout.write(traffic.report() + "\n")
    for record in (*traffic.failed(), *traffic.truncated())[:10]:
        sys.stdout.write(f"  {record.session} on {record.revision or 'no revision'}: {record.error}\n")
    return 1 if traffic.failed() or traffic.truncated() or flips(traffic.records) else 0


def line(records: Iterable[Record]) -> str:
    """Who answered, in percent of requests, and how many went wrong."""
    seen = list(records)
    answered = Counter(f"{r.revision} ({r.track})" for r in seen if r.revision and not r.failed)
    total = sum(answered.values())
    shares = "  ".join(f"{name} {100 * count / total:.0f} %" for name, count in sorted(answered.items()))
    wrong = sum(1 for r in seen if r.failed or (r.ended is not None and r.truncated))
    return f"{total:5d} answers  {shares or 'nobody'}" + (f"  {wrong} went wrong" if wrong else "")


def _watch(traffic: Traffic, until: float) -> None:
    """A line per second about the requests that began in it, until the time is over or Ctrl-C."""
    try:
        done = len(traffic.records)
        while time.monotonic() < until:
            time.sleep(1)
            now = len(traffic.records)
            sys.stdout.write(line(traffic.records[done:now]) + "\n")
            sys.stdout.flush()
            done = now
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    raise SystemExit(main())
