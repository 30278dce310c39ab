"""`python -m understudy.crdgen [--check]`: write the generated files, or say which of them differ."""

import argparse
import sys
from pathlib import Path

from understudy.crdgen.files import broken_by, differing, generated, write


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when all is written (or nothing differs), 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m understudy.crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that differ")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="top of the repository (default: here)")
    parser.add_argument("--breaking", action="store_true", help="write also what stored objects would not survive")
    options = parser.parse_args(argv)
    files = generated(options.root)
    if not options.check:
        broken = [] if options.breaking else broken_by(files, options.root)
        for change in broken:
            print(f"incompatible: {change} (stored objects break; --breaking writes it anyway)", file=sys.stderr)
        for path in [] if broken else write(files, options.root):
            print(f"wrote {path}")
        return 1 if broken else 0
    stale = differing(files, options.root)
    for path in stale:
        print(f"differs from its source: {path} (run `make generate`)", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
