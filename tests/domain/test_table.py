"""A routing table says what it means, or is refused with the field that is wrong."""

from typing import Any

import pytest

from understudy.domain.table import InvalidTableError, Table, Timeouts, Variant, parse_table, table_spec

STABLE, CANARY = "6f1c9a02", "a90b1234"


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "epoch": 3,
        "servedNames": ["story"],
        "variants": [
            {"revision": STABLE, "track": "stable", "weight": 90, "service": f"story-{STABLE}"},
            {"revision": CANARY, "track": "canary", "weight": 10, "service": f"story-{CANARY}"},
        ],
        **changed,
    }


def variant(**changed: Any) -> list[dict[str, Any]]:
    return [{"revision": STABLE, "track": "stable", "weight": 100, "service": f"story-{STABLE}", **changed}]


def test_what_was_parsed_is_written_again_as_it_was() -> None:
    table = Table(
        epoch=3,
        served_names=("story", "story.two"),
        variants=(Variant(STABLE, "stable", 90, f"story-{STABLE}"), Variant(CANARY, "canary", 10, f"story-{CANARY}")),
        salt=CANARY,
        retired=True,
        timeouts=Timeouts(5.0, 6.0, 7.0),
        session_from_user=True,
        cut=("0a1b2c3d",),
    )
    assert parse_table("story", table_spec(table)) == table


def test_what_is_left_out_has_its_default() -> None:
    table = parse_table("story", {"epoch": 0})
    assert table == Table(epoch=0, served_names=(), variants=())


def test_a_shadow_has_no_share() -> None:
    shadow = {"revision": CANARY, "track": "shadow", "weight": 0, "service": f"story-{CANARY}"}
    assert len(parse_table("story", spec(variants=[*variant(), shadow])).variants) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"epoch": -1}, "spec.epoch"),
        ({"cut": ["xyz"]}, "spec.cut: revision 'xyz' is not 8 hexadecimal digits"),
        ({"cut": ["0a1b2c3d", CANARY]}, f"spec.cut: {CANARY} is a variant too"),
        ({"epoch": "3"}, "spec.epoch"),
        ({"epoch": True}, "spec.epoch"),
        ({"servedNames": ["no spaces"]}, "spec.servedNames"),
        ({"servedNames": [7]}, "spec.servedNames"),
        ({"variants": variant() * 2}, "twice"),
        ({"variants": variant(weight=99)}, "sum to 100"),
        ({"variants": variant(weight=101)}, "weight"),
        ({"variants": variant(weight=True)}, "weight"),
        ({"variants": variant(weight="100")}, "weight"),
        ({"variants": variant(track="blue")}, "track"),
        ({"variants": variant(revision="xyz")}, "8 hexadecimal digits"),
        ({"variants": variant(revision=7)}, "8 hexadecimal digits"),
        ({"variants": variant(service="other")}, "service"),
        ({"timeouts": {"firstTokenSeconds": 0}}, "firstTokenSeconds"),
        ({"timeouts": {"betweenTokensSeconds": "9"}}, "betweenTokensSeconds"),
        ({"timeouts": {"wholeSeconds": True}}, "wholeSeconds"),
    ],
)
def test_what_must_not_be_served_is_refused_by_its_field(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidTableError, match=says):
        parse_table("story", spec(**changed))
