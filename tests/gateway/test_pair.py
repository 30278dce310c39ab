"""Which certificate new connections get, and which is refused."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.certificates import RSA, certify, sign
from understudy.gateway.pair import Pair, PairError, gauges


def test_a_pair_tells_when_it_ends(tmp_path: Path) -> None:
    certify(tmp_path, "first")
    said = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "tls.crt", "-noout", "-enddate", "-dateopt", "iso_8601"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    when = subprocess.run(
        ["date", "-d", said.stdout.strip().removeprefix("notAfter="), "+%s"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Pair(tmp_path).expires == float(when.stdout)


def test_a_certificate_under_two_cas_is_taken_with_its_chain(tmp_path: Path) -> None:
    sign(tmp_path, "chained")
    assert Pair(tmp_path).expires > 0


def test_a_new_pair_is_taken_once_and_in_a_context_of_its_own(tmp_path: Path) -> None:
    certify(tmp_path, "first", RSA)
    pair = Pair(tmp_path)
    before = pair.context
    pair.look()
    assert pair.context is before
    certify(tmp_path, "second")
    pair.look()
    pair.look()
    assert pair.context is not before
    assert (pair.taken, pair.refused) == (2, 0)


def other_key(folder: Path) -> None:
    kept = (folder / "tls.crt").read_bytes()
    certify(folder, "another")
    (folder / "tls.crt").write_bytes(kept)


def locked_key(folder: Path) -> None:
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", folder / "tls.key", "-out", folder / "locked", "-passout", "pass:x"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "locked").replace(folder / "tls.key")


BAD: dict[str, Callable[[Path], object]] = {
    "tls.key is not the key of tls.crt: give both of one pair": other_key,
    "tls.crt holds no certificate: want PEM": lambda folder: (folder / "tls.crt").write_text("none"),
    "tls.key holds no private key: want PEM": lambda folder: (folder / "tls.key").write_text("none"),
    "tls.key is encrypted: give it without a password": locked_key,
    "tls.crt and tls.key are not a pair:": lambda folder: (folder / "tls.key").write_text("BEGIN PRIVATE KEY"),
    "tls.key cannot be read: No such file or directory": lambda folder: (folder / "tls.key").unlink(),
    "tls.crt is not accepted by clients: certificate has expired": lambda folder: sign(folder, "old", -1),
    "tls.crt is not accepted by clients: unsuitable certificate purpose": lambda folder: certify(
        folder, "for mail", RSA, "-addext", "extendedKeyUsage=emailProtection"
    ),
}


@pytest.mark.parametrize(("reason", "spoil"), BAD.items(), ids=BAD)
def test_a_bad_pair_is_refused_with_a_reason_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reason: str, spoil: Callable[[Path], object]
) -> None:
    certify(tmp_path, "good")
    pair = Pair(tmp_path)
    context, expires = pair.context, pair.expires
    good = tmp_path / "good"
    good.mkdir()
    for name in ("tls.crt", "tls.key"):
        shutil.copy(tmp_path / name, good / name)
    spoil(tmp_path)
    pair.look()
    pair.look()
    assert (pair.context, pair.expires) == (context, expires)
    shown = gauges({"clients": pair})
    assert shown["understudy_tls_pairs_refused_total"][1] == {"clients": 1}
    assert shown["understudy_tls_pairs_taken_total"][1] == {"clients": 1}
    (record,) = caplog.records
    assert f"{tmp_path}" in record.message
    assert f"{reason}" in record.message
    assert "the pair before it stays in use" in record.message
    for name in ("tls.crt", "tls.key"):
        shutil.copy(good / name, tmp_path / name)
    pair.look()
    assert (pair.taken, pair.refused) == (2, 1)


@pytest.mark.parametrize("gone", [True, False])
def test_a_pair_that_is_swapped_while_it_is_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    certify(tmp_path, "first")
    pair = Pair(tmp_path)
    real = Pair._load

    def between(self: Pair) -> object:
        # The kubelet renames a folder: one file was read before, the next is read after.
        monkeypatch.setattr(Pair, "_load", real)
        certify(tmp_path, "third")
        if not gone:
            raise PairError("half of each")
        context = real(self)
        (tmp_path / "tls.crt").unlink()
        return context

    certify(tmp_path, "second")
    monkeypatch.setattr(Pair, "_load", between)
    pair.look()
    assert (pair.taken, pair.refused) == (1, 0)
    certify(tmp_path, "fourth")
    pair.look()
    assert (pair.taken, pair.refused) == (2, 0)


def test_at_the_start_a_pair_that_is_only_over_is_better_than_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sign(tmp_path, "old", -1)
    assert Pair(tmp_path).expires == 0
    assert "certificate has expired; it is used until there is a better one" in caplog.text


def test_at_the_start_two_files_that_are_no_pair_are_an_error(tmp_path: Path) -> None:
    certify(tmp_path, "good")
    other_key(tmp_path)
    with pytest.raises(PairError, match=f"{tmp_path}: tls.key is not the key of tls.crt"):
        Pair(tmp_path)
