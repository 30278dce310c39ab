"""`understudy sim`: a simulated engine, and a way to turn the knobs of one that runs.

`understudy sim --set '{"errorRate": 1}'` inside the engine's container changes the running engine.
"""

import argparse
import asyncio
import http.client
import logging
import os
import sys
from collections.abc import Mapping

import orjson
import uvloop

from understudy.domain.names import ENGINE_PORT
from understudy.sim.answers import Served
from understudy.sim.behaviour import CRASH_NOW, KNOBS, Behaviour, BehaviourError, changed, flag, from_text, variable
from understudy.sim.server import CRASH_STATUS, Identity, Simulator, serve

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
    parser.add_argument("--set", dest="knobs", metavar="JSON", help="change the engine that runs on --port, and exit")
    for knob in KNOBS:
        parser.add_argument(flag(knob), dest=knob, help=f"also {variable(knob)}; see POST /admin/behaviour")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; exit status 0, 2 for a bad knob, 3 for a simulated crash."""
    if args.knobs is not None:
        return _turn(args.port, args.knobs, os.environ)
    try:
        behaviour = changed(Behaviour(), _knobs(args, os.environ))
    except BehaviourError as error:
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
        runner.run(serve(Simulator(identity, behaviour), args.host, args.port, args.shutdown_timeout))
    return 0


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


def _turn(port: int, knobs: str, environ: Mapping[str, str]) -> int:
    """Pass the knobs on to the engine beside us; exit status 1 if none answers, 2 if it refuses them."""
    key = environ.get("VLLM_API_KEY", "")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
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
