"""Whom the operator trusts to sign engines' certificates, and the certificate that it shows to engines which ask.

The same folder as the gateways': ca.crt, and tls.crt with tls.key. Files that have changed are taken by the next
connection; if they are of no use, those before them stay.
"""

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp

log = logging.getLogger(__name__)

_FILES: Final = ("ca.crt", "tls.crt", "tls.key")
_Stamp = tuple[tuple[int, int] | None, ...]


class TrustError(Exception):
    """Files that cannot be used; the message says which, and why."""


class NobodyTrustedError(OSError):
    """There are no files: no engine's certificate is taken."""


def distrust(error: BaseException) -> str:
    """Why an engine that should speak TLS was not asked, in words that follow its name; "" if that is not about TLS.

    The same two kinds that gateways tell apart: its certificate is not taken, or it takes none of ours. An engine that
    wants one hangs up (in TLS 1.3 only after the handshake), and the client library loses what it said.
    """
    for cause in _causes(error):
        match cause:
            case NobodyTrustedError():
                return f"its certificate is not taken: {cause}"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not taken: {cause.verify_message}"
            case ssl.SSLError() | aiohttp.ServerDisconnectedError():
                reason = cause.reason if isinstance(cause, ssl.SSLError) else "it hung up"
                return f"no TLS: {reason}; does it speak TLS, and take the operator's certificate (tls.crt)?"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, without the client library's wraps: TLS errors that do not say which."""
    while error is not None:
        if not isinstance(error, aiohttp.ClientSSLError):
            yield error
        error = error.__cause__


class Trust:
    """TLS contexts of the files in `folder`; without one nobody is trusted."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises TrustError."""
        self._folder = folder
        self._stamp: _Stamp = () if folder is None else _stamp(folder)
        self._context = None if folder is None else _load(folder)

    def context(self) -> ssl.SSLContext:
        """For a connection that is made now; raises NobodyTrustedError."""
        if self._folder is None or self._context is None:
            raise NobodyTrustedError("the operator has no --engine-tls-dir that says whom to trust")
        stamp = _stamp(self._folder)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = _load(self._folder)
            except TrustError as error:
                log.warning("%s; the files before stay in use", error)
        return self._context


def _stamp(folder: Path) -> _Stamp:
    return tuple(_changed(folder / name) for name in _FILES)


def _changed(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    # The kubelet swaps a link: another file, perhaps of the same second.
    return found.st_ino, found.st_mtime_ns


def _load(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in the gateway: whoever is in ca.crt is trusted, under another authority or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(folder / "ca.crt")
    except OSError as error:
        raise TrustError(
            f"{folder}/ca.crt: want the certificates, in PEM, of those who sign engines': {error}"
        ) from error
    if (folder / "tls.crt").exists():
        try:
            # The password is given because OpenSSL would ask the terminal for it.
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key", password=b"")
        except OSError as error:
            raise TrustError(f"{folder}: tls.crt and tls.key are no pair that can be shown: {error}") from error
    return context
