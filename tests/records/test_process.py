"""`understudy records` as a process: killed, stopped, started anew, with a certificate that changes."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from local.ports import free_port
from tests.gateway.certificates import certify
from tests.gateway.gateways import until
from tests.records.serving import lease, process, question
from understudy.cli.main import main


@pytest.mark.slow
async def test_nothing_that_was_answered_is_lost_when_it_is_killed(url: str) -> None:
    port = free_port()
    granted: dict[int, int] = {}

    async def client(first: int) -> None:
        for number in range(first, first + 1_000):
            try:
                status, answer = await r.ask("POST", lease(number), question(want=7))
            except (aiohttp.ClientError, ConnectionError):
                return
            assert status == 200
            granted[number] = answer["granted"]

    for life in range(3):
        async with process(url, "--auth=none", port=port) as r:
            clients = [asyncio.ensure_future(client(10_000 * life + 2_000 * n + 1)) for n in range(4)]
            enough = len(granted) + 40
            await until(lambda enough=enough: len(granted) >= enough)  # type: ignore[misc]
            assert r.child is not None
            r.child.kill()
            await r.child.communicate()
            await asyncio.gather(*clients)
    async with process(url, "--auth=none", port=port) as r:
        account = (await r.ask("GET", "/v1/ledger/accounts"))[1]["accounts"][0]
        # Four more at most in each life were granted without anybody hearing of it.
        assert 7 * len(granted) <= account["open"] + account["settled"] <= 7 * (len(granted) + 12)
        for number in list(granted)[:: len(granted) // 20]:
            status, answer = await r.ask("POST", lease(number), question(want=7))
            if status == 409:  # It was granted more than a minute ago.
                assert answer["error"]["message"].startswith("this lease has lapsed")
            else:
                assert (status, answer["fence"], answer["granted"]) == (200, 1, 7)


@pytest.mark.slow
async def test_it_shows_a_renewed_certificate_and_ends_well(tmp_path: Path) -> None:
    old = certify(tmp_path, "old")
    async with process(tmp_path, "--auth=none", f"--tls-dir={tmp_path}", tls=old) as r:
        assert (await r.ask("GET", "/healthz", tls=old))[0] == 200
        new = certify(tmp_path, "new")
        async with asyncio.timeout(120):
            while True:
                try:
                    assert (await r.ask("GET", "/healthz", tls=new))[0] == 200
                    break
                except aiohttp.ClientConnectorCertificateError:
                    await asyncio.sleep(0.2)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await r.ask("GET", "/healthz", tls=old)
        assert r.child is not None
        r.child.send_signal(signal.SIGTERM)
        _, said = await r.child.communicate()
        assert r.child.returncode == 0
        assert b"the database was at step none and is now at " in said
        assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("flags", "status", "sentence"),
    [
        ((), 2, "understudy records: not in a cluster: give --api-server URL, or --auth none to answer everybody"),
        (
            ("--api-server=http://127.0.0.1:9",),
            2,
            "understudy records: nobody may ask: give --subject system:serviceaccount:NAMESPACE:NAME, or --auth none",
        ),
        (("--auth=none", "--tls-dir=/nowhere"), 2, "understudy records: /nowhere/tls.crt cannot be read"),
        (
            ("--auth=none", "--database-file=/nowhere/url"),
            2,
            "understudy records: /nowhere/url cannot be read: [Errno 2]",
        ),
        (("--auth=none", "--subject-keys=/nowhere"), 1, "understudy records: [Errno 2] No such file"),
        (("--auth=none", "--database=oracle"), 2, "understudy records: 'oracle' is no database: write sqlite:///"),
        (("--api-server=http://127.0.0.1:9", "--subject=x", "--host=203.0.113.7"), 1, "understudy records: [Errno"),
    ],
)
def test_what_it_cannot_start_with_is_told_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("understudy.cli.records.configure", lambda _level: None)
    database = f"--database=sqlite:///{tmp_path}/records.db"
    assert main(["records", "--only=ledger", "--host=127.0.0.1", database, *flags]) == status
    assert capsys.readouterr().err.startswith(sentence)


@pytest.mark.slow
async def test_a_second_process_on_one_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(tmp_path, "--auth=none"), process(tmp_path, "--auth=none") as second:
        assert second.child is not None
        _, said = await second.child.communicate()
        assert second.child.returncode == 2
        assert b"records.db is in use by another process: stop that one first" in said


@pytest.mark.slow
async def test_the_url_of_a_database_may_come_from_a_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url + "\n")
    async with process("sqlite:////nowhere/x", "--auth=none", f"--database-file={tmp_path}/url") as r:
        assert (await r.ask("GET", "/v1/ledger/accounts"))[0] == 200


@pytest.mark.slow
async def test_with_the_ledger_alone_no_records_are_taken(tmp_path: Path) -> None:
    async with process(tmp_path, "--auth=none", "--only=ledger") as r:
        assert (await r.ask("GET", "/v1/ingest"))[0] == 404


def test_how_long_to_keep_is_a_duration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["records", "--keep=month"])
    assert "'month' is not a duration: write one such as" in capsys.readouterr().err
