"""Where one measurement happens, and what everybody who takes part in it must know."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATH = {"PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}"}
KEY = "sk-bench-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
MODEL = "storyteller"
STABLE, CANDIDATE = "6f1c9a02", "a90b1234"
ENGINES = 4
# Ports of one measurement: the engines', what is measured and its admin port, and what that needs beside it.
PORTS = ENGINES + 3


@dataclass(frozen=True)
class Place:
    """An empty folder, the port to serve on (the two after it are free too), the first engine's port."""

    folder: Path
    port: int
    engine: int

    @property
    def engines(self) -> list[int]:
        """Ports of the engines; the last one is the candidate's."""
        return list(range(self.engine, self.engine + ENGINES))

    @property
    def admin(self) -> int:
        """For an admin port."""
        return self.port + 1

    @property
    def beside(self) -> int:
        """For a process that what is measured needs beside it."""
        return self.port + 2

    def file(self, name: str, text: str | bytes) -> str:
        """Write a file; its path."""
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)
