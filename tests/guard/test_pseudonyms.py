"""How somebody is called by a keyed hash."""

from understudy.guard.pseudonyms import pseudonym


def test_whoever_differs_in_anything_is_called_otherwise() -> None:
    names = {
        pseudonym(b"secret", "player", "team-a", "anna"),
        pseudonym(b"another", "player", "team-a", "anna"),
        pseudonym(b"secret", "session", "team-a", "anna"),
        pseudonym(b"secret", "player", "team-aa", "nna"),
        pseudonym(b"secret", "player", "team-", "aanna"),
    }
    assert len(names) == 5
    assert pseudonym(b"secret", "player", "team-a", "anna") in names
    assert all(len(name) == 64 for name in names)
