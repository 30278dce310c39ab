"""TLS of the simulated engine, by vLLM's flags and as vLLM has it: the files are taken anew when they change."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0


class TlsError(ValueError):
    """Files or flags that no TLS can be spoken by; the message says why."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is shown, and, with `cert_reqs` above 0 (1: if there is one, 2: always), who signs clients' certificates."""

    certificate: Path
    key: Path
    authorities: Path | None = None
    cert_reqs: int = 0

    def server(self) -> ssl.SSLContext:
        """For the engine's port; raises TlsError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.VerifyMode(self.cert_reqs)
        self.load(context)
        return context

    def beside(self) -> ssl.SSLContext:
        """For a client in the engine's own container: it trusts that certificate alone, and shows it.

        Raises TlsError.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self.load(context, self.certificate)
        return context

    def load(self, context: ssl.SSLContext, trusted: Path | None = None) -> None:
        """Have a context use the files as they are now; raises TlsError."""
        authorities = trusted or self.authorities
        try:
            # The password is given because OpenSSL would ask the terminal for it.
            context.load_cert_chain(self.certificate, self.key, password=b"")
            if authorities is not None:
                context.load_verify_locations(authorities)
        except OSError as error:
            raise TlsError(f"{self.certificate}, {self.key}, {authorities or 'no authorities'}: {error}") from error

    async def refresh(self, context: ssl.SSLContext) -> None:
        """Take files that change, until cancelled."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            stamp = self._stamp()
            if stamp != seen:
                seen = stamp
                try:
                    self.load(context)
                    LOG.info("%s: new connections get the new certificate", self.certificate)
                except TlsError as error:
                    LOG.warning("the certificate before stays in use: %s", error)

    def _stamp(self) -> tuple[bytes, ...]:
        return tuple(_bytes(path) for path in (self.certificate, self.key, self.authorities) if path is not None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
