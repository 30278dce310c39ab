"""TLS to engines: who signs the certificates that they must have, and the one that the gateway shows if they ask.

An engine must be the one that its address was looked up for: its certificate has to name its revision's Service, in
its namespace, whatever the address. Renewed files are taken as those for clients are.
"""

import logging
import ssl
import time
from pathlib import Path
from typing import Final, Literal

from understudy.gateway.pair import Pair, PairError, Use, expiry, load_chain

LOG: Final = logging.getLogger(__name__)
_MAX_TOLD: Final = 1000

# untrusted: its certificate is not what it has to be. refused: it does not take ours, or no TLS came about.
Failure = Literal["untrusted", "refused"]
FAILURES: Final[tuple[Failure, ...]] = ("untrusted", "refused")


class NobodyTrustedError(Exception):
    """There are no files: no engine's certificate is taken."""


class UpstreamTls:
    """TLS to engines, by the files in `folder`: ca.crt, and tls.crt with tls.key where engines ask who asks.

    Without a folder no engine that speaks TLS is trusted, and none is asked in another way instead. `failed` counts
    connections that came to nothing.
    """

    __slots__ = ("_told", "failed", "files")

    def __init__(self, folder: Path | None = None) -> None:
        """Raises PairError."""
        self.files = None if folder is None else Pair(folder, FOR_ENGINES)
        self.failed: dict[str, float] = dict.fromkeys(FAILURES, 0)
        self._told: set[str] = set()

    def context(self, name: str) -> ssl.SSLContext | None:
        """How an engine of the Service `name` is spoken to now; None, by plain HTTP, for "".

        Raises NobodyTrustedError.
        """
        if not name:
            return None
        if self.files is None:
            raise NobodyTrustedError
        return self.files.context

    def fails(self, name: str, address: str, error: Exception | None) -> None:
        """A connection came to nothing; said in the log once for each engine and reason."""
        if isinstance(error, NobodyTrustedError):
            self.failed["untrusted"] += 1
            why = "its certificate is not taken: this gateway has no --engine-tls-dir that says whom to trust"
        elif isinstance(error, ssl.SSLCertVerificationError):
            self.failed["untrusted"] += 1
            why = f"its certificate is not taken: {error.verify_message}"
        else:
            self.failed["refused"] += 1
            reason = error.reason if isinstance(error, ssl.SSLError) else "it hung up"
            why = f"no TLS: {reason}; does it speak TLS, and take the gateway's certificate (tls.crt)?"
        text = f"engine {address} of {name}: {why}"
        if text not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(text)
            LOG.warning("%s", text)


def _load(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Whoever is in ca.crt is trusted, under another authority or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    authorities = folder / "ca.crt"
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise PairError(f"{authorities} holds no certificate: want PEM, of those that sign engines'") from error
    except OSError as error:
        raise PairError(f"{authorities} cannot be read: {error.strerror}") from error
    if not context.get_ca_certs():
        raise PairError(f"{authorities} holds no authority's certificate (CA:TRUE): give the one that signs engines'")
    if _shows(folder):
        load_chain(context, folder)
    return context


def _try(folder: Path, context: ssl.SSLContext) -> float:
    """When nobody in ca.crt is valid any more, or the gateway's certificate is not."""
    last = max(ssl.cert_time_to_seconds(str(known["notAfter"])) for known in context.get_ca_certs())
    if last <= time.time():
        raise PairError(f"{folder}: every certificate in ca.crt is over")
    if not _shows(folder):
        return last
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    engine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for side in (client, engine):
        load_chain(side, folder)
    return min(last, expiry(folder, client, engine, "engines"))


def _shows(folder: Path) -> bool:
    return (folder / "tls.crt").exists() or (folder / "tls.key").exists()


FOR_ENGINES: Final = Use(("ca.crt", "tls.crt", "tls.key"), _load, _try)
