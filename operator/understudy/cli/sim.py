"""`understudy sim`: a simulated engine, and a way to turn the knobs of one that runs.

`understudy sim --set '{"errorRate": 1}'` inside the engine's container changes the running engine; of one that speaks
TLS with the same `--ssl-certfile` and `--ssl-keyfile`.
"""

import argparse
import asyncio
import http.client
import logging
import os
import ssl
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import orjson
import uvloop

from understudy.domain.names import ENGINE_PORT
from understudy.sim.answers import Served
from understudy.sim.behaviour import CRASH_NOW, KNOBS, Behaviour, BehaviourError, changed, flag, from_text, variable
from understudy.sim.server import CRASH_STATUS, Identity, Simulator, serve
from understudy.sim.tls import Files, TlsError

LOG = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `understudy sim`; every behaviour flag has an environment variable SIM_… too."""
    parser.add_argument("--model-id", default="sim", help="id shown by /v1/models")
    parser.add_argument("--root", default="/models/sim", help="path of the weights shown by /v1/models")
    parser.add_argument("--max-model-len", type=int, default=8192, help="context length in tokens")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  # an engine in a pod listens on the pod's address
    parser.add_argument("--port", type=int, default=ENGINE_PORT)
    parser.add_argument("--seed", type=int, default=0, help="seed of answers, failures and jitter")
    parser.add_argument("--shutdown-timeout", type=float, default=0.0, help="seconds that requests get after SIGTERM")
    tls = parser.add_argument_group("TLS, as vLLM has it")
    tls.add_argument("--ssl-certfile", type=Path, metavar="FILE", help="certificate to show; default: plain HTTP")
    tls.add_argument("--ssl-keyfile", type=Path, metavar="FILE", help="its key; default: it is in the same file")
    tls.add_argument("--ssl-ca-certs", type=Path, metavar="FILE", help="who signs certificates of clients")
    reqs = "whether clients must show one: 0 no, 1 only if they have one, 2 yes (default: 0)"
    tls.add_argument("--ssl-cert-reqs", type=int, choices=(0, 1, 2), default=0, help=reqs)
    tls.add_argument("--enable-ssl-refresh", action="store_true", help="take files that change while it runs")
    parser.add_argument("--set", dest="knobs", metavar="JSON", help="change the engine that runs on --port, and exit")
    for knob in KNOBS:
        parser.add_argument(flag(knob), dest=knob, help=f"also {variable(knob)}; see POST /admin/behaviour")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; exit status 0, 2 for a bad knob, 3 for a simulated crash."""
    files = _files(args)
    try:
        if args.knobs is not None:
            return _turn(args.port, args.knobs, os.environ, files)
        behaviour = changed(Behaviour(), _knobs(args, os.environ))
        tls = None if files is None else files.server()
    except (BehaviourError, TlsError) as error:
        print(f"understudy sim: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if behaviour.crash == CRASH_NOW:
        LOG.error("simulated crash at start")
        return CRASH_STATUS
    identity = Identity(
        served=Served(args.model_id, args.root, args.max_model_len),
        pod=os.environ.get("POD_NAME") or os.environ.get("HOSTNAME", "sim"),
        api_key=os.environ.get("VLLM_API_KEY", ""),
        seed=args.seed,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        serving = serve(Simulator(identity, behaviour), args.host, args.port, args.shutdown_timeout, tls)
        runner.run(_refreshing(files, tls, serving) if files and tls and args.enable_ssl_refresh else serving)
    return 0


def _files(args: argparse.Namespace) -> Files | None:
    if args.ssl_certfile is None:
        return None
    return Files(args.ssl_certfile, args.ssl_keyfile or args.ssl_certfile, args.ssl_ca_certs, args.ssl_cert_reqs)


async def _refreshing(files: Files, tls: ssl.SSLContext, serving: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(files.refresh(tls))
        await serving
        looking.cancel()


def _knobs(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, object]:
    """Knobs that were given, a flag before its variable."""
    given: dict[str, object] = {}
    for knob in KNOBS:
        text = getattr(args, knob)
        if text is None:
            text = environ.get(variable(knob))
        if text is not None:
            given[knob] = from_text(knob, text)
    return given


def _turn(port: int, knobs: str, environ: Mapping[str, str], files: Files | None) -> int:
    """Pass the knobs on to the engine beside us; exit status 1 if none answers, 2 if it refuses them."""
    key = environ.get("VLLM_API_KEY", "")
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        if files is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=files.beside())
    )
    try:
        connection.request("POST", "/admin/behaviour", knobs.encode(), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        print(f"understudy sim: no engine answers on port {port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        print(f"understudy sim: {orjson.loads(body)['error']['message']}", file=sys.stderr)
        return 2
    print(body.decode())
    return 0
