"""Two detectors for the cluster, in a pod that runs this file: one finds an insult, the other a name.

The first speaks the moderations API by TLS, the second that of FMS without; both know one word and have no idea of
anything else. Nothing but Python is there where it runs.
"""

import json
import sys
import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

INSULT, NAME = "idiot", "Jane Doe"
MODERATIONS_PORT, FMS_PORT = 8443, 8000


class Judge(BaseHTTPRequestHandler, ABC):
    """One connection to a detector, which is asked at `address`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    address = ""

    def do_POST(self) -> None:
        """One question."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        known = self.path == self.address
        body = json.dumps(self.judge(asked)).encode() if known else b"{}"
        self.send_response(200 if known else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @abstractmethod
    def judge(self, asked: dict[str, Any]) -> Any:
        """What it says to a question."""


class Moderations(Judge):
    """Scores a whole text."""

    address = "/v1/moderations"

    def judge(self, asked: dict[str, Any]) -> Any:
        bad = INSULT in asked["input"]
        scores = {"harassment": 0.97 if bad else 0.02}
        return {"results": [{"flagged": bad, "categories": {"harassment": bad}, "category_scores": scores}]}


class Fms(Judge):
    """Says where a name is."""

    address = "/api/v1/text/contents"

    def judge(self, asked: dict[str, Any]) -> Any:
        at = asked["contents"][0].find(NAME)
        found = {"start": at, "end": at + len(NAME), "detection": "name", "detection_type": "pii", "score": 0.9}
        return [[found] if at >= 0 else []]


def serve(pair: Path) -> None:
    """Both of them for ever; the folder holds tls.crt and tls.key."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair / "tls.crt", pair / "tls.key")
    moderations = ThreadingHTTPServer(("", MODERATIONS_PORT), Moderations)
    # Who connects and says nothing keeps nobody waiting but a thread of its own.
    moderations.socket = context.wrap_socket(moderations.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=moderations.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("", FMS_PORT), Fms).serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
