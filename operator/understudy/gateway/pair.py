"""A certificate and its key in a folder, renewed while connections go on: a mounted Secret, swapped by the kubelet.

A pair is tried before it is taken, by a handshake in memory with somebody who trusts nothing but its certificate:
what nobody would accept is refused, and the pair before it stays in use. Each pair has a context of its own, since a
context remembers one certificate for each kind of key and would go on showing the old one to some clients.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOG: Final = logging.getLogger(__name__)
# The kubelet takes up to a minute or two to write a changed Secret; ten seconds more are nothing.
LOOK_SECONDS: Final = 10.0
FAILURES: Final = ("handshake", "plain_http")
_FIRST: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class PairError(ValueError):
    """A folder without a usable pair; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the files of a folder are for. Both functions raise PairError.

    `load` makes a context of them; `attempt` tries it in memory and tells when it ends, in seconds since 1970.
    """

    files: tuple[str, ...]
    load: Callable[[Path], ssl.SSLContext]
    attempt: Callable[[Path, ssl.SSLContext], float]


class Pair:
    """The pair in `folder` that new connections are made with: by default tls.crt and tls.key, for clients.

    `expires` is when its certificate ends, in seconds since 1970; 0 for one that was not valid when it was taken.
    """

    def __init__(self, folder: Path, use: Use | None = None) -> None:
        """Raises PairError; a pair that is only out of date is taken, there being none before it."""
        self._folder = folder
        self._use = FOR_CLIENTS if use is None else use
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

    def _stamp(self) -> tuple[bytes, ...]:
        return tuple(_bytes(self._folder / name) for name in self._use.files)

    def _load(self) -> ssl.SSLContext:
        return self._use.load(self._folder)

    def _try(self, context: ssl.SSLContext) -> float:
        return self._use.attempt(self._folder, context)


def load_chain(context: ssl.SSLContext, folder: Path) -> None:
    """Have the context show the certificate in the folder; raises PairError."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    try:
        # The password is given because OpenSSL would ask the terminal for it.
        context.load_cert_chain(certificate, key, password=b"")
    except ssl.SSLError as error:
        raise PairError(f"{folder}: {_why(certificate, key, error)}") from error
    except OSError as error:
        missing = next((path for path in (certificate, key) if not path.exists()), certificate)
        raise PairError(f"{missing} cannot be read: {error.strerror}") from error


def expiry(folder: Path, shows: ssl.SSLContext, judges: ssl.SSLContext, who: str) -> float:
    """When the certificate in the folder, which `shows` shows, ends; raises PairError if `judges` does not take it.

    `judges` is told to trust that certificate alone; `who` names its side in messages.
    """
    first = _FIRST.search(_bytes(folder / "tls.crt"))
    judges.verify_mode = ssl.CERT_REQUIRED
    judges.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        judges.load_verify_locations(cadata=first.group().decode("ascii", "replace") if first else "")
        shown = _shake_hands(shows, judges)
    except ssl.SSLCertVerificationError as error:
        raise PairError(f"{folder}: tls.crt is not accepted by {who}: {error.verify_message}") from error
    except (OSError, ValueError) as error:
        raise PairError(f"{folder}: no connection can be made with this pair: {error}") from error
    return ssl.cert_time_to_seconds(str(shown["notAfter"]))


def _load_server(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    load_chain(context, folder)
    return context


def _try_server(folder: Path, server: ssl.SSLContext) -> float:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    return expiry(folder, server, client, "clients")


FOR_CLIENTS: Final = Use(("tls.crt", "tls.key"), _load_server, _try_server)


def _shake_hands(shows: ssl.SSLContext, judges: ssl.SSLContext) -> dict[str, Any]:
    """The certificate of `shows` as `judges` sees it."""
    server, client = (shows, judges) if judges.protocol is ssl.PROTOCOL_TLS_CLIENT else (judges, shows)
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
    return dict((asking if judges is client else answering).getpeercert() or {})


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
            "New certificates not taken, because nobody would accept them",
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
