"""The transcripts that are kept are those of the tales that are told (test_told_*.py)."""

from tests.plan.transcript import TRANSCRIPTS, tales


def test_every_transcript_has_its_tale() -> None:
    assert sorted(file.stem for file in TRANSCRIPTS.glob("*.txt")) == sorted(tale.__name__ for tale in tales())
