"""Certificates that openssl makes, for tests that speak TLS."""

import ssl
import subprocess
from pathlib import Path

NAME = "understudy-gateway.understudy-system.svc"
EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
RSA = ("rsa:2048",)


def certify(folder: Path, name: str, key: tuple[str, ...] = EC, *more: str, days: int = 2) -> ssl.SSLContext:
    """Put a self-signed certificate for the gateways' name into a folder, and make a client that trusts only it."""
    _openssl(
        "req", "-x509", "-newkey", *key, "-nodes", "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
        "-days", str(days), "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{NAME},DNS:localhost", *more,
    )  # fmt: skip
    return ssl.create_default_context(cafile=str(folder / "tls.crt"))


def sign(folder: Path, name: str, days: int = 2) -> ssl.SSLContext:
    """Like `certify`, but signed by a CA under another; the client knows the upper one. Negative days: it is over."""
    ca, under = folder / "ca", folder / "under"
    ca.mkdir(exist_ok=True)
    certify(ca, "upper")
    issue(under, ca, "under", "basicConstraints=critical,CA:TRUE")
    issue(folder, under, name, f"subjectAltName=DNS:{NAME},DNS:localhost", days)
    chain = (folder / "tls.crt").read_text() + (under / "tls.crt").read_text()
    (folder / "tls.crt").write_text(chain)
    return ssl.create_default_context(cafile=str(ca / "tls.crt"))


def issue(folder: Path, ca: Path, name: str, extension: str, days: int = 2) -> None:
    """Put a certificate with its key into a folder, signed by the CA in folder `ca`. Negative days: it is over."""
    folder.mkdir(exist_ok=True)
    extensions = folder / "extensions"
    extensions.write_text(extension)
    _openssl(
        "req", "-newkey", *EC, "-nodes", "-keyout", folder / "tls.key", "-out", folder / "request",
        "-subj", f"/CN={name}",
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", folder / "request", "-CA", ca / "tls.crt", "-CAkey", ca / "tls.key",
        "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", folder / "tls.crt",
    )  # fmt: skip


def _openssl(*args: str | Path) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)
