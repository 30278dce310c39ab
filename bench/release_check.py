"""What a release lacks: the proof of the rollout machine must be of the sources that are released.

    python bench/release_check.py

Ends with 1, and a sentence for each thing that is missing.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bench.proven import Proven, digest  # noqa: E402 - found by the path above


def main(root: Path = ROOT) -> int:
    """The command."""
    gaps = Proven.read(root / "docs" / "proof.json").gaps(digest(root))
    for gap in gaps:
        print(gap, file=sys.stderr)
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
