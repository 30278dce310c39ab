"""Short questions to other programs: their answer as text, or None, within a deadline.

Anything long or worth a log goes through `local.steps` instead.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path


def ask(command: Sequence[str | Path], *, seconds: float = 20.0, stdin: str | None = None) -> str | None:
    """Standard output, stripped; None when the program is missing, fails or does not answer in time."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
