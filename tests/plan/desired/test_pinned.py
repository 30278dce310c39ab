"""What examples render to, word for word."""

from pathlib import Path

import pytest

from tests.plan.desired.golden import golden_file, sources, text


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_renders_as_pinned(source: Path) -> None:
    # After a wanted change: python -m tests.plan.desired.golden, and read the diff.
    assert text(source) == golden_file(source).read_text()
