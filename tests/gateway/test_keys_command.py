"""`understudy keys create`: the key once, its hash in the manifest, and both fit the gateway."""

import argparse
import hashlib
import json
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from tests.gateway.worlds import snapshot, table, world_of
from understudy.cli import keys
from understudy.domain.names import LABEL_ACCESS_KEY
from understudy.gateway.objects import AccessKeys
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.keys import AccessKey, find_key
from understudy.gateway.policy.limits import parse_limits
from understudy.gateway.policy.players import Players
from understudy.gateway.snapshot import dump


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    keys.add_arguments(parser)
    return keys.run(parser.parse_args(["create", *words]))


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_the_manifest_lets_the_gateway_know_the_key(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("team-a", "--namespaces", "a,b", "--names", "storyteller", "-o", output) == 0
    said = capsys.readouterr()
    manifest = json.loads(said.out) if output == "json" else yaml.safe_load(said.out)
    key = said.err.rsplit(" ", 1)[1].strip()
    assert (key[:3], len(key)) == ("us-", 46)
    assert key not in said.out
    assert manifest["metadata"]["labels"][LABEL_ACCESS_KEY] == "true"
    assert manifest["metadata"]["name"] == "team-a"
    world = world_of(snapshot([table()], [], []))
    AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
    found = find_key(world.compile().keys, f"Bearer {key}".encode())
    assert isinstance(found, AccessKey)
    assert found.namespaces == {"a", "b"}
    assert found.names == {"storyteller"}


def test_a_program_gets_key_and_manifest_in_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("team-a", "-o", "json-with-key") == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert sorted(made) == ["key", "secret"]
    assert made["secret"]["stringData"]["hash"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert made["key"] not in json.dumps(made["secret"])
    # Whoever keeps standard error in a log must not find the key there.
    assert said.err == ""


def test_json_is_what_kubectl_takes(capsys: pytest.CaptureFixture[str]) -> None:
    # Were the key in it, kubectl would quote it: "Object 'Kind' is missing in '{…}'".
    run("team-a", "-o", "json")
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Secret")


def test_the_right_to_ask_for_the_candidate_is_given_by_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    rights = []
    for flags in ((), ("--choose-variant",)):
        assert run("tester", *flags) == 0
        said = capsys.readouterr()
        manifest = yaml.safe_load(said.out)
        world = world_of(snapshot([table()], [], []))
        AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
        found = find_key(world.compile().keys, f"Bearer {said.err.rsplit(' ', 1)[1].strip()}".encode())
        assert isinstance(found, AccessKey)
        rights.append(found.chooses)
    assert rights == [False, True]


@pytest.mark.parametrize(
    ("flags", "priority"), [((), 5), (("--priority", "0"), 0), (("--priority", "9"), 9), (("--priority", "5"), 5)]
)
def test_a_priority_is_given_by_a_flag(
    flags: tuple[str, ...], priority: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", *flags) == 0
    manifest = yaml.safe_load(capsys.readouterr().out)
    world = world_of(snapshot([table()], [], []))
    AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
    assert [key.priority for key in world.compile().keys.values()] == [priority]


def test_a_priority_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("tester", "--priority", "10")
    assert "0..9" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["10", "-1", "high", "٣"])
def test_a_key_whose_priority_cannot_be_read_has_the_usual_one(written: str, caplog: pytest.LogCaptureFixture) -> None:
    world = world_of(snapshot([table()], [], []))
    data = encoded({"hash": "0" * 64, "namespaces": "*", "names": "*", "priority": written})
    AccessKeys(world).put({"metadata": {"namespace": "understudy-system", "name": "k"}, "data": data})
    assert [key.priority for key in world.compile().keys.values()] == [5]
    assert "data.priority is not a digit" in caplog.text


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        ((), {}),
        (("--requests-per-minute", "60"), {"requestsPerMinute": "60"}),
        (("--tokens-per-minute", "1000000000"), {"tokensPerMinute": "1000000000"}),
        (("--requests-per-minute=5", "--tokens-per-minute=7"), {"requestsPerMinute": "5", "tokensPerMinute": "7"}),
    ],
)
def test_limits_are_given_by_flags(
    flags: tuple[str, ...], written: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", *flags) == 0
    manifest = yaml.safe_load(capsys.readouterr().out)
    assert {name: value for name, value in manifest["stringData"].items() if name.endswith("PerMinute")} == written
    world = world_of(snapshot([table()], [], []))
    AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
    assert [key.limits for key in world.compile().keys.values()] == [parse_limits(written)]


@pytest.mark.parametrize("written", ["0", "-1", "1.5", "many", "1000000001"])
@pytest.mark.parametrize("flag", ["--requests-per-minute", "--tokens-per-minute"])
def test_a_limit_that_is_none_is_refused(flag: str, written: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("tester", f"{flag}={written}")
    assert f"{flag}: want a whole number from 1 to 1000000000, in digits alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"requestsPerMinute": "0"}, "data.requestsPerMinute: want a whole number from 1"),
        ({"tokensPerMinute": ""}, "data.tokensPerMinute: want a whole number from 1"),
        ({"tokensPerMinute": "us-secret"}, "data.tokensPerMinute: want a whole number from 1"),
        ({"hash": "us-secret"}, "data.hash: want a SHA-256 in hexadecimal digits"),
    ],
)
def test_a_key_that_cannot_be_read_is_none_until_it_can(
    field: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = world_of(snapshot([table()], [], []))
    keys_of = AccessKeys(world)
    metadata = {"namespace": "understudy-system", "name": "k"}
    sound = {"hash": "0" * 64, "namespaces": "*", "names": "*"}
    for data, known, unreadable in ((sound, 1, 0), ({**sound, **field}, 0, 1), (sound, 1, 0), (field, 0, 1)):
        keys_of.put({"metadata": metadata, "data": encoded(data)})
        assert (len(world.compile().keys), len(world.unreadable)) == (known, unreadable)
        # One that goes while nobody watches must be missed, readable or not.
        assert keys_of.known() == {("understudy-system", "k")}
    keys_of.gone("understudy-system", "k")
    assert world.unreadable == set()
    assert f"Secret understudy-system/k is no access key: {said}" in caplog.text
    assert "us-secret" not in caplog.text


@pytest.mark.parametrize(
    ("flags", "budgets"),
    [
        ((), ()),
        (("--budget", "5000000"), (Budget("understudy-system/tester", 5_000_000, "month", "UTC"),)),
        (
            (*("--budget", "100"), *("--budget-period", "day"), *("--budget-time-zone", "Asia/Tokyo"),
             *("--on-ledger-loss", "allow")),
            (Budget("understudy-system/tester", 100, "day", "Asia/Tokyo", allow=True),),
        ),
        (
            ("--budget", "100", "--budget-money", "25.00", "--budget-currency", "EUR"),
            (
                Budget("understudy-system/tester", 100, "month", "UTC"),
                Budget("understudy-system/tester", 25 * 10**9, "month", "UTC", unit="EUR"),
            ),
        ),
    ],
)  # fmt: skip
def test_a_budget_is_given_by_flags(
    flags: tuple[str, ...], budgets: tuple[Budget, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", *flags) == 0
    manifest = yaml.safe_load(capsys.readouterr().out)
    world = world_of(snapshot([table()], [], []))
    AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
    assert [key.budgets for key in world.compile().keys.values()] == [budgets]
    # A gateway that starts from its copy knows it, too.
    again = world_of(dump(world))
    assert [key.budgets for key in again.compile().keys.values()] == [budgets]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--budget-period", "day"), "budgetPeriod: there is no budgetTokens or budgetMoney that it could be about"),
        (("--budget-money", "25"), "budgetMoney: there is no budgetCurrency that says of what: write one such as USD"),
        (("--budget-money", "25", "--budget-currency", "usd"), "budgetCurrency: want a currency's three capital"),
        (("--budget", "5", "--budget-time-zone", "Mars"), "budgetTimeZone: want a time zone such as Europe/Berlin"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", *flags) == 2
    assert said in capsys.readouterr().err


def test_an_amount_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("tester", "--budget", "5M")
    assert "want a whole number from 1 to 1000000000000000, in digits alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"budgetTokens": "5M"}, "is no access key: data.budgetTokens: want a whole number"),
        ({"budgetTokens": ""}, "is no access key: data.budgetTokens: want a whole number"),
        ({"budgetTokens": "5", "budgetPeriod": "year"}, "is no access key: data.budgetPeriod: want day, week or month"),
        ({"onLedgerLoss": "allow"}, "is no access key: data.onLedgerLoss: there is no budgetTokens"),
        ({"budgetMoney": "25"}, "is no access key: data.budgetMoney: there is no budgetCurrency"),
        ({"budgetMoney": "$25", "budgetCurrency": "USD"}, "is no access key: data.budgetMoney: want a decimal"),
    ],
)
def test_a_key_whose_budget_cannot_be_read_is_no_key(
    fields: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = world_of(snapshot([table()], [], []))
    metadata = {"namespace": "understudy-system", "name": "k"}
    data = {"hash": "0" * 64, "namespaces": "*", "names": "*"}
    AccessKeys(world).put({"metadata": metadata, "data": encoded(data)})
    assert len(world.compile().keys) == 1
    # It was one before: who made its budget unreadable does not get one without a budget.
    AccessKeys(world).put({"metadata": metadata, "data": encoded({**data, **fields})})
    assert world.compile().keys == {}
    assert said in caplog.text


def encoded(data: dict[str, str]) -> dict[str, str]:
    return {field: b64encode(value.encode()).decode() for field, value in data.items()}


def test_each_key_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    run()
    first, second = capsys.readouterr().err.splitlines()
    assert first != second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Team_A",), "cannot name a Secret"),
        (("a", "--namespaces", "a, b"), "--namespaces: want a comma list"),
        (("a", "--names", ""), "--names: want a comma list"),
        (("a", "--names", "*,a"), "--names: want a comma list"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert said in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    assert "kubectl apply -f -" in capsys.readouterr().out


def test_whose_players_a_key_speaks_of_is_given_by_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 32 + "\n")
    for flags, players in (
        ((), Players("understudy-system/tester")),
        (("--tenant", "games", "--asserts-players"), Players("games", asserts=True)),
        (("--asserts-fiction",), Players("understudy-system/tester", fiction=True)),
        (
            ("--tenant", "games", "--player-secret-file", str(tmp_path / "secret"), "--crisis-requests", "7"),
            Players("games", secret="s" * 32, allowance=7),
        ),
    ):
        assert run("tester", *flags) == 0
        manifest = yaml.safe_load(capsys.readouterr().out)
        world = world_of(snapshot([table()], [], []))
        AccessKeys(world).put({"metadata": manifest["metadata"], "data": encoded(manifest["stringData"])})
        assert [key.players for key in world.compile().keys.values()] == [players]
        # A gateway that starts from its copy knows it, too.
        assert [key.players for key in world_of(dump(world)).compile().keys.values()] == [players]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--tenant", "a b"), "tenant: want up to 320 letters"),
        (("--player-secret-file", "/nowhere"), "No such file"),
        (("--crisis-requests", "many"), "crisisRequests: want a number"),
    ],
)
def test_flags_of_players_that_make_no_sense_are_refused(
    flags: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tester", *flags) == 2
    assert sentence in capsys.readouterr().err
