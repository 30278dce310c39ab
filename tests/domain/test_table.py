"""A routing table says what it means, or is refused with the field that is wrong."""

from typing import Any

import pytest

from understudy.domain.money import Pricing
from understudy.domain.names import guard_shard
from understudy.domain.table import (
    Guard,
    InvalidTableError,
    Logging,
    Queue,
    Shadow,
    Table,
    Timeouts,
    Variant,
    parse_table,
    table_spec,
)

STABLE, CANARY = "6f1c9a02", "a90b1234"
POLICY, OLD = "5a" * 32, "0d" * 32
SHARD = guard_shard("safe", POLICY, 0)
DECIMAL = "want a decimal such as 0.10, at most 9 digits on each side of the point, in quotes"


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
        variants=(
            Variant(STABLE, "stable", 90, f"story-{STABLE}"),
            Variant(CANARY, "canary", 10, f"story-{CANARY}", tls=True),
        ),
        salt=CANARY,
        retired=True,
        timeouts=Timeouts(5.0, 6.0, 7.0, 8.0),
        queue=Queue(7, 8.0, 9),
        session_from_user=True,
        cut=("0a1b2c3d",),
        extra_fields=("guided_decoding_backend",),
        media_hosts=("img.example.com", "10.0.0.1:8443"),
        fallback=("plain", "stories/plainer"),
        pricing=Pricing(100_000_000, 10**18 - 1, "EUR", request=1),
        logging=Logging("released", 0.5, 4096, 3600.0),
        guards=(
            Guard("safe", POLICY, (SHARD, guard_shard("safe", POLICY, 10)), open=True, revoke_before=OLD),
            Guard("s.2", POLICY, (guard_shard("s.2", POLICY, 0),)),
        ),
    )
    assert parse_table("story", table_spec(table)) == table


@pytest.mark.parametrize("text", [False, True])
def test_the_settings_of_a_shadow_are_written_as_they_were_and_only_where_there_is_one(text: bool) -> None:
    variants = (Variant(STABLE, "stable", 100, f"story-{STABLE}"), Variant(CANARY, "shadow", 0, f"story-{CANARY}"))
    table = Table(epoch=3, served_names=("story",), variants=variants, shadow=Shadow(10, 2.0, 0.25, text=text))
    assert parse_table("story", table_spec(table)) == table


def test_what_is_left_out_has_its_default() -> None:
    table = parse_table("story", {"epoch": 0})
    assert table == Table(epoch=0, served_names=(), variants=())
    rare = {"queue", "fallback", "shadow", "extraFields", "mediaHosts", "pricing", "logging", "guards"}
    assert not rare.intersection(table_spec(table))
    assert "heartbeatAfterSeconds" not in table_spec(table)["timeouts"]


def test_prices_are_written_as_decimals_and_a_currency_and_a_price_of_requests_may_be_left_out() -> None:
    said = {"inputPerMillion": "0.10", "outputPerMillion": "4"}
    table = parse_table("story", spec(pricing=said))
    assert table.pricing == Pricing(100_000_000, 4_000_000_000, "USD")
    written = {"inputPerMillion": "0.1", "outputPerMillion": "4", "perRequest": "0", "currency": "USD"}
    assert table_spec(table)["pricing"] == written


def test_a_variant_says_that_it_speaks_tls_only_where_it_does() -> None:
    variants = (
        Variant(STABLE, "stable", 90, f"story-{STABLE}"),
        Variant(CANARY, "canary", 10, f"story-{CANARY}", True),
    )
    plain, secured = table_spec(Table(epoch=3, served_names=(), variants=variants))["variants"]
    assert "tls" not in plain
    assert secured["tls"] is True


@pytest.mark.parametrize(
    "logging",
    [Logging("none", 0.25), Logging("raw", 0.0, 0, 9999 * 86400.0), Logging("released", 1.0, 1_048_576, 0.5)],
)
def test_what_is_logged_is_written_as_it_was(logging: Logging) -> None:
    table = Table(epoch=3, served_names=(), variants=(), logging=logging)
    assert parse_table("story", table_spec(table)) == table


def test_a_guard_is_closed_and_revokes_nothing_unless_it_says_so() -> None:
    table = parse_table("story", spec(guards=[guard()]))
    assert table.guards == (Guard("safe", POLICY, (SHARD,), open=False, revoke_before=""),)
    assert table_spec(table)["guards"] == [{"name": "safe", "policy": POLICY, "shards": [SHARD]}]


def test_two_guardrails_that_say_the_same_have_parts_of_their_own() -> None:
    assert guard_shard("safe", POLICY, 0) != guard_shard("safer", POLICY, 0)


def guard(**changed: Any) -> dict[str, Any]:
    return {"name": "safe", "policy": POLICY, "shards": [SHARD], **changed}


def test_pods_without_a_bound_are_written_without_one() -> None:
    table = Table(epoch=3, served_names=(), variants=(), queue=Queue(0, 1.5))
    assert table_spec(table)["queue"] == {"max": 0, "deadlineSeconds": 1.5}
    assert parse_table("story", table_spec(table)) == table


def shadowed(variants: int = 1, **changed: Any) -> dict[str, Any]:
    """Stable, so many shadows, and the settings of one with fields changed; None takes a field away."""
    shadows = [
        {"revision": revision, "track": "shadow", "weight": 0, "service": f"story-{revision}"}
        for revision in (CANARY, "0badc0de")[:variants]
    ]
    settings = {"percent": 10, "firstTokenSeconds": 2, "betweenTokensSeconds": 0.2, **changed}
    wanted = {field: value for field, value in settings.items() if value is not None}
    return {"variants": [*variant(), *shadows], "shadow": wanted}


@pytest.mark.parametrize("percent", [1, 100])
def test_a_shadow_has_no_share_and_keeps_no_text_unless_asked_to(percent: int) -> None:
    table = parse_table("story", spec(**shadowed(percent=percent)))
    assert [(v.track, v.weight) for v in table.variants] == [("stable", 100), ("shadow", 0)]
    assert table.shadow == Shadow(percent, first_token=2.0, between_tokens=0.2, text=False)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"epoch": -1}, "spec.epoch: want a whole number, 0 or more"),
        ({"queue": {"max": -1}}, "spec.queue.max: want a whole number from 0 to 100000"),
        ({"queue": {"perPod": True}}, "spec.queue.perPod: want a whole number from 0 to 100000"),
        ({"queue": {"perPod": 0.5}}, "spec.queue.perPod: want a whole number from 0 to 100000"),
        ({"queue": {"deadlineSeconds": 0}}, "spec.queue.deadlineSeconds: want seconds between 0 and 86400"),
        ({"fallback": ["a b"]}, "spec.fallback: 'a b' is not a model name"),
        ({"cut": ["xyz"]}, "spec.cut: revision 'xyz' is not 8 hexadecimal digits"),
        ({"cut": ["0a1b2c3d", CANARY]}, f"spec.cut: {CANARY} is a variant too"),
        ({"extraFields": ["priority"]}, "spec.extraFields: priority is never passed on"),
        ({"extraFields": ["No Name"]}, "spec.extraFields: 'No Name' is not a field's name"),
        ({"extraFields": [7]}, "spec.extraFields: 7 is not a field's name"),
        (
            {"mediaHosts": ["IMG.example.com"]},
            "spec.mediaHosts: 'IMG.example.com' is not a host in lower case, or host:port",
        ),
        (
            {"mediaHosts": ["https://img.example.com"]},
            "spec.mediaHosts: 'https://img.example.com' is not a host in lower case, or host:port",
        ),
        ({"mediaHosts": [7]}, "spec.mediaHosts: 7 is not a host in lower case, or host:port"),
        ({"pricing": {"inputPerMillion": "1"}}, f"spec.pricing.outputPerMillion: {DECIMAL}"),
        ({"pricing": {"inputPerMillion": 0.1, "outputPerMillion": "1"}}, f"spec.pricing.inputPerMillion: {DECIMAL}"),
        (
            {"pricing": {"inputPerMillion": "1", "outputPerMillion": "1", "perRequest": "-1"}},
            f"spec.pricing.perRequest: {DECIMAL}",
        ),
        (
            {"pricing": {"inputPerMillion": "1", "outputPerMillion": "1", "currency": "$"}},
            "spec.pricing.currency: want a currency's three capital letters, such as USD",
        ),
        ({"epoch": "3"}, "spec.epoch: want a whole number, 0 or more"),
        ({"epoch": True}, "spec.epoch: want a whole number, 0 or more"),
        ({"servedNames": ["no spaces"]}, "spec.servedNames: 'no spaces' is not a model name"),
        ({"servedNames": [7]}, "spec.servedNames: 7 is not a model name"),
        ({"variants": variant() * 2}, "spec.variants: a revision appears twice"),
        ({"variants": variant(weight=99)}, "spec.variants: weights must sum to 100"),
        ({"variants": variant(weight=101)}, f"spec.variants[{STABLE}].weight: want a whole number from 0 to 100"),
        ({"variants": variant(weight=True)}, f"spec.variants[{STABLE}].weight: want a whole number from 0 to 100"),
        ({"variants": variant(weight="100")}, f"spec.variants[{STABLE}].weight: want a whole number from 0 to 100"),
        (
            {"variants": variant(track="blue")},
            f"spec.variants[{STABLE}].track: 'blue' is none of stable, canary, shadow",
        ),
        ({"variants": variant(revision="xyz")}, "spec.variants: revision 'xyz' is not 8 hexadecimal digits"),
        ({"variants": variant(revision=7)}, "spec.variants: revision 7 is not 8 hexadecimal digits"),
        ({"variants": variant(service="other")}, f"spec.variants[{STABLE}].service: want 'story-{STABLE}'"),
        ({"timeouts": {"firstTokenSeconds": 0}}, "spec.timeouts.firstTokenSeconds: want seconds between 0 and 86400"),
        (
            {"timeouts": {"betweenTokensSeconds": "9"}},
            "spec.timeouts.betweenTokensSeconds: want seconds between 0 and 86400",
        ),
        ({"timeouts": {"wholeSeconds": True}}, "spec.timeouts.wholeSeconds: want seconds between 0 and 86400"),
        ({"variants": variant(tls="yes")}, f"spec.variants[{STABLE}].tls: want true or false"),
        (
            {"timeouts": {"heartbeatAfterSeconds": 86401}},
            "spec.timeouts.heartbeatAfterSeconds: want seconds between 0 and 86400",
        ),
        ({"logging": {"text": "all"}}, "spec.logging.text: 'all' is none of none, released, raw"),
        ({"logging": {"sample": 1.1}}, "spec.logging.sample: want a number from 0 to 1"),
        ({"logging": {"sample": -0.1}}, "spec.logging.sample: want a number from 0 to 1"),
        ({"logging": {"sample": True}}, "spec.logging.sample: want a number from 0 to 1"),
        ({"logging": {"sample": "1"}}, "spec.logging.sample: want a number from 0 to 1"),
        ({"logging": {"maxBytes": -1}}, "spec.logging.maxBytes: want a whole number from 0 to 1048576"),
        ({"logging": {"maxBytes": 1_048_577}}, "spec.logging.maxBytes: want a whole number from 0 to 1048576"),
        ({"logging": {"maxBytes": True}}, "spec.logging.maxBytes: want a whole number from 0 to 1048576"),
        ({"logging": {"maxBytes": 1.5}}, "spec.logging.maxBytes: want a whole number from 0 to 1048576"),
        ({"logging": {"ttlSeconds": 0}}, "spec.logging.ttlSeconds: want seconds between 0 and 863913600"),
        ({"guards": [guard(), guard(failOpen=True)]}, "spec.guards: a Guardrail appears twice"),
        ({"guards": [guard(name="Safe")]}, "spec.guards: 'Safe' is not the name of a Guardrail"),
        ({"guards": [guard(name=None)]}, "spec.guards: None is not the name of a Guardrail"),
        ({"guards": [guard(policy="5a")]}, "spec.guards[safe].policy: '5a' is not 64 hexadecimal digits"),
        ({"guards": [guard(policy=5)]}, "spec.guards[safe].policy: 5 is not 64 hexadecimal digits"),
        ({"guards": [guard(shards=[])]}, "spec.guards[safe].shards: want the ConfigMaps that hold the policy"),
        (
            {"guards": [guard(shards=[SHARD, "secrets"])]},
            "spec.guards[safe].shards: 'secrets' is not called as a part of a policy",
        ),
        ({"guards": [guard(shards=[7])]}, "spec.guards[safe].shards: 7 is not called as a part of a policy"),
        ({"guards": [guard(failOpen="yes")]}, "spec.guards[safe].failOpen: want true or false"),
        ({"guards": [guard(revokeBefore="0d")]}, "spec.guards[safe].revokeBefore: '0d' is not 64 hexadecimal digits"),
        ({"guards": [guard(revokeBefore=7)]}, "spec.guards[safe].revokeBefore: 7 is not 64 hexadecimal digits"),
        (
            {"guards": [guard(revokeBefore=POLICY)]},
            "spec.guards[safe].revokeBefore: it would end all streams, those under this policy included",
        ),
        (shadowed(variants=2), "spec.variants: only one may have track shadow"),
        (shadowed(variants=0), "spec.shadow: want a variant of track shadow beside it"),
        ({**shadowed(), "shadow": None}, "spec.shadow: want it beside a variant of track shadow"),
        (
            {**shadowed(), "variants": variant(track="shadow", weight=1)},
            f"spec.variants[{STABLE}].weight: want 0 for a shadow",
        ),
        (shadowed(percent=0), "spec.shadow.percent: want a whole number from 1 to 100"),
        (shadowed(percent=101), "spec.shadow.percent: want a whole number from 1 to 100"),
        (shadowed(percent=True), "spec.shadow.percent: want a whole number from 1 to 100"),
        (shadowed(percent="10"), "spec.shadow.percent: want a whole number from 1 to 100"),
        (shadowed(percent=None), "spec.shadow.percent: want a whole number from 1 to 100"),
        (shadowed(text="yes"), "spec.shadow.text: want true or false"),
        (shadowed(firstTokenSeconds=None), "spec.shadow.firstTokenSeconds: want seconds between 0 and 86400"),
        (shadowed(betweenTokensSeconds=0), "spec.shadow.betweenTokensSeconds: want seconds between 0 and 86400"),
    ],
)
def test_what_must_not_be_served_is_refused_by_its_field(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidTableError) as refused:
        parse_table("story", spec(**changed))
    assert str(refused.value) == says
