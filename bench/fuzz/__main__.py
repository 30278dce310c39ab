"""`make fuzz`: new inputs for readers and guardrails, bred from the corpus by the code that each one reaches.

What reaches something new joins the corpus, which `make test` replays. An input that breaks a property is shown, and
kept too: the test fails until that is mended.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.fuzz import inputs
from bench.fuzz.guard_targets import chunkings
from bench.fuzz.targets import TARGETS
from local.environments import install_file

ROOT = Path(__file__).resolve().parents[2]
_MAX_LENGTH = 1024


def fuzz(python: Path, target: str, seconds: int) -> list[bytes]:
    """Fuzz one target for so many seconds and renew its corpus; the inputs that break something."""
    child: list[str | Path] = [python, "-m", "bench.fuzz.child", target]
    with tempfile.TemporaryDirectory() as name:
        old, new, least, broken = (Path(name) / part for part in ("old", "new", "least", "broken"))
        for folder in (old, new, least, broken):
            folder.mkdir()
        for number, data in enumerate(inputs.read(target)):
            (old / str(number)).write_bytes(data)
        flags = (f"-max_total_time={seconds}", f"-max_len={_MAX_LENGTH}", "-timeout=10", "-rss_limit_mb=2048")
        _run(child, *flags, "-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={broken}/", new, old)
        _run(child, "-merge=1", "-verbosity=0", f"-max_len={_MAX_LENGTH}", f"-artifact_prefix={name}/", least, old, new)
        found = [file.read_bytes() for file in broken.iterdir()]
        kept = [file.read_bytes() for file in least.iterdir()] or inputs.read(target)
        inputs.write(target, [*kept, *found])
        return found


def _run(command: list[str | Path], *flags: str | Path) -> None:
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"}
    subprocess.run([*command, *flags], cwd=ROOT, env=environ, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--chunkings", type=int, default=1_000_000, help="of texts for the target guard")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only these")
    args = parser.parse_args()
    python = install_file(ROOT / "requirements" / "fuzz.txt") / "bin" / "python"
    failed = 0
    for target in args.target or TARGETS:
        for data in fuzz(python, target, args.seconds):
            print(f"{target}: broken by {data!r}")
            failed = 1
    if "guard" in (args.target or TARGETS):
        print(f"guard: {chunkings(inputs.read('guard'), args.chunkings)} chunkings of random texts broke nothing")
    return failed


if __name__ == "__main__":
    sys.exit(main())
