"""A served detector of a Guardrail: read whole or refused with what to write instead."""

from collections.abc import Mapping
from typing import Any

import pytest

from understudy.guard.served.chatguard import PARSERS, ChatGuard
from understudy.guard.served.codec import USUAL, graded, slug
from understudy.guard.served.fms import Fms
from understudy.guard.served.judge import CLEAR, FOUND, JudgeError, address_of, read_judge
from understudy.guard.served.moderations import CATEGORIES, Moderations
from understudy.guard.windows import Window

LEAST = {"violence": 0.3, "self_harm": 0.5}
GUARD = {"name": "guard", "type": "chat-guard", "parser": "llamaguard/v3", "modelRef": {"name": "guard-4b"}}
REMOTE = {"name": "remote", "type": "moderations", "url": "https://moderation.example/v1", "caRef": {"name": "ca"}}
PLACES = {"name": "places", "type": "fms", "url": "http://fms.default:8000", "params": {"regex": ["email"]}}


def refusal(detector: Mapping[str, Any], least: Mapping[str, float] = LEAST, **sources: str) -> str:
    with pytest.raises(JudgeError) as refused:
        read_judge("g", detector, least, sources)
    return str(refused.value)


def test_a_guard_of_ours_is_read() -> None:
    judge = read_judge("g", GUARD, LEAST, {})
    assert (judge.name, judge.model, judge.url, judge.authority, judge.timeout) == (
        "g/guard", "guard-4b", "", "", 0.25
    )  # fmt: skip
    assert isinstance(judge.codec, ChatGuard)
    assert (judge.found, judge.clear) == (FOUND["self_harm"], CLEAR)
    assert (judge.may_find("violence"), judge.may_find("name")) == (True, False)


def test_those_at_an_address_are_read() -> None:
    judge = read_judge("g", {**REMOTE, "timeout": "1500ms"}, LEAST, {"remote": "PEM"})
    assert (judge.url, judge.authority, judge.timeout) == ("https://moderation.example/v1", "PEM", 1.5)
    assert isinstance(judge.codec, Moderations)
    assert judge.may_find("anything")
    judge = read_judge("g", {**PLACES, "canary": {"found": "a", "clear": "b"}}, {"name": 0.3}, {})
    assert isinstance(judge.codec, Fms)
    assert (judge.found, judge.clear) == ("a", "b")
    (question,) = judge.codec.questions(Window(0, 1, "x"), "input", "")
    assert question.body["detector_params"] == {"regex": ["email"]}


def test_what_is_wrong_is_said_with_what_to_write_instead() -> None:
    assert refusal({**GUARD, "parser": "llamaguard/v9"}) == (
        "there is no parser 'llamaguard/v9': write one of llamaguard/v3, qwen3guard/v1, granite/v3, granite-risk/v1"
    )
    assert refusal({**GUARD, "parser": "granite/v3"}, {"self_harm": 0.3}).startswith(
        "no rule speaks of what granite/v3 finds (harm, hate, jailbreak, "
    )
    assert refusal({**GUARD, "type": "fms"}) == (
        "a ModelDeployment answers no requests of type fms: write url, or type chat-guard"
    )
    assert refusal(REMOTE) == "ConfigMap 'ca' is not there: make it, or name another"
    assert refusal({**PLACES, "name": "p"}, {"name": 0.3, "place": 0.3}) == (
        "no text is known in which name, place must be found: write canary.found, by which the detector is tried"
    )
    assert refusal({**REMOTE, "url": "http://moderation.example"}, remote="PEM").startswith("caRef says whose")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1"),
        ("http://localhost", "localhost"),
        ("http://A.LocalHost/", "a.localhost"),
        ("http://169.254.169.254/latest", "169.254.169.254"),
        ("http://[::1]:80", "::1"),
        ("http://[fe80::1]", "fe80::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://2130706433", "2130706433"),
    ],
)
def test_the_gateway_itself_is_not_an_address(url: str, host: str) -> None:
    assert refusal({**PLACES, "url": url}) == (
        f"{host} is the gateway itself or its node, which are not asked: write the address of a Service or a host"
    )


@pytest.mark.parametrize(
    "url",
    ["http://", "http://x:99999", "http://x:0", "http://:80", "http://[::1", "http://b\u00fccher.example", "http://a\x01b",
     "http://x/\x7f", "http://a'b"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    assert refusal({**PLACES, "url": url}) == f"{url!r} is no address: write one such as https://guard.example:8443"


@pytest.mark.parametrize("url", ["http://me:word@x", "http://me@x", "https://x/a#b"])
def test_an_address_holds_no_secrets(url: str) -> None:
    assert refusal({**PLACES, "url": url}).startswith("url has a user, a password or a fragment")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://fms:8000", ("http", "fms", 8000, "/v1/x")),
        ("https://guard.example/", ("https", "guard.example", 443, "/v1/x")),
        ("http://guard.example/v1", ("http", "guard.example", 80, "/v1/x")),
        ("http://guard.example/a/v1/", ("http", "guard.example", 80, "/a/v1/x")),
        ("https://[2001:db8::1]:8443/ask?version=2", ("https", "2001:db8::1", 8443, "/ask?version=2")),
    ],
)
def test_an_address_says_where_a_question_goes(url: str, target: tuple[str, str, int, str]) -> None:
    assert address_of(url, "/v1/x") == target


def test_an_address_up_to_v1_is_whole_for_a_path_of_another_kind() -> None:
    assert address_of("http://fms/v1", "/api/v1/text/contents") == ("http", "fms", 80, "/v1")


def test_every_category_that_parsers_and_moderations_know_has_a_text_or_needs_one_from_the_user() -> None:
    known = {category for parser in PARSERS.values() for category in parser.categories} | set(CATEGORIES.values())
    assert known - FOUND.keys() == {
        "code_abuse", "defamation", "elections", "intellectual_property", "political", "sexual_minors",
        "specialized_advice", "unethical", "weapons",
    }  # fmt: skip
    assert all(len(text) <= 200 for text in (CLEAR, *FOUND.values()))


def test_scores_have_grades() -> None:
    assert [graded(score) for score in (0.0, 0.3, 0.59, 0.6, 0.84, 0.85, 1.0)] == [2, 2, 2, 4, 4, 6, 6]
    assert USUAL == {2: 0.3, 4: 0.6, 6: 0.85}


def test_a_word_becomes_a_category() -> None:
    assert [slug(word) for word in ("Net.EmailAddress", " Small  Talk!", "ünder", "x" * 80)] == [
        "net_emailaddress", "small_talk", "nder", "x" * 64
    ]  # fmt: skip
