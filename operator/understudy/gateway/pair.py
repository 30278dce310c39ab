"""A certificate and its key in a folder, renewed while connections go on: a mounted Secret, swapped by the kubelet.

A pair is tried before it is taken, by a handshake in memory with a client that trusts nothing but its certificate:
what no client could connect to is refused, and the pair before it stays in use. Each pair has a context of its own,
since a context remembers one certificate for each kind of key and would go on showing the old one to some clients.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LOG: Final = logging.getLogger(__name__)
# The kubelet takes up to a minute or two to write a changed Secret; ten seconds more are nothing.
LOOK_SECONDS: Final = 10.0
FAILURES: Final = ("handshake", "plain_http")
_FIRST: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class PairError(ValueError):
    """A folder without a usable pair; the message says what is wrong with it."""


class Pair:
    """The pair in `folder` (tls.crt, tls.key) that new connections are served with.

    `expires` is when its certificate ends, in seconds since 1970; 0 for one that was not valid when it was taken.
    """

    def __init__(self, folder: Path) -> None:
        """Raises PairError; a pair that is only out of date is taken, there being none before it."""
        self._folder = folder
        self._seen = self._stamp()
        self.context = self._load()
        self.expires = 0.0
        self.taken = 1
        self.refused = 0
        self.failed: dict[str, float] = dict.fromkeys(FAILURES, 0)
        try:
            self.expires = self._try(self.context)
        except PairError as error:
            LOG.warning("%s; it is used until there is a better one", error)

    async def renew(self) -> None:
        """Take each new pair for connections from then on, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the pair in the folder if it is a new one that can be used."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            context = self._load()
            expires = self._try(context)
        except PairError as error:
            if stamp != self._stamp():
                return  # It was swapped between two files; the next look sees one whole pair.
            self._seen = stamp
            self.refused += 1
            LOG.warning("%s; the pair before it stays in use", error)
            return
        self._seen = stamp
        self.context, self.expires = context, expires
        self.taken += 1
        LOG.info("%s: new connections get the new certificate", self._folder)

    def _stamp(self) -> tuple[bytes, bytes]:
        return _bytes(self._folder / "tls.crt"), _bytes(self._folder / "tls.key")

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._folder / "tls.crt", self._folder / "tls.key"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            # The password is given because OpenSSL would ask the terminal for it.
            context.load_cert_chain(certificate, key, password=b"")
        except ssl.SSLError as error:
            raise PairError(f"{self._folder}: {_why(certificate, key, error)}") from error
        except OSError as error:
            missing = next((path for path in (certificate, key) if not path.exists()), certificate)
            raise PairError(f"{missing} cannot be read: {error.strerror}") from error
        return context

    def _try(self, server: ssl.SSLContext) -> float:
        """When the certificate ends; raises PairError if a client cannot connect."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        first = _FIRST.search(_bytes(self._folder / "tls.crt"))
        try:
            client.load_verify_locations(cadata=first.group().decode("ascii", "replace") if first else "")
            return _shake_hands(server, client)
        except ssl.SSLCertVerificationError as error:
            raise PairError(f"{self._folder}: tls.crt is not accepted by clients: {error.verify_message}") from error
        except (OSError, ValueError) as error:
            raise PairError(f"{self._folder}: no client can connect with this pair: {error}") from error


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [asking, answering]
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    shown = asking.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(shown["notAfter"]))


def gauges(pairs: Mapping[str, Pair]) -> dict[str, tuple[str, dict[str, float]]]:
    """What metrics show of the pairs of ports, by name."""
    return {
        "understudy_tls_expiration_timestamp_seconds": (
            "When the certificate in use ends; 0 for one that was not valid when it was taken",
            {port: pair.expires for port, pair in pairs.items()},
        ),
        "understudy_tls_pairs_taken_total": (
            "Certificates taken, the first included",
            {port: pair.taken for port, pair in pairs.items()},
        ),
        "understudy_tls_pairs_refused_total": (
            "New certificates not taken, because no client could use them",
            {port: pair.refused for port, pair in pairs.items()},
        ),
        "understudy_tls_handshakes_failed_total": (
            "Connections that came to no TLS, on all ports",
            {kind: sum(pair.failed[kind] for pair in pairs.values()) for kind in FAILURES},
        ),
    }


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _why(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "tls.key is not the key of tls.crt: give both of one pair"
    if _FIRST.search(_bytes(certificate)) is None:
        return "tls.crt holds no certificate: want PEM, the server's own first, then those that signed it"
    text = _bytes(key)
    if b"ENCRYPTED" in text:
        return "tls.key is encrypted: give it without a password"
    if b"PRIVATE KEY" not in text:
        return "tls.key holds no private key: want PEM"
    return f"tls.crt and tls.key are not a pair: {error}"
