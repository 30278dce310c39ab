"""Detectors that judge windows, asked by the operator itself: about what candidates say to probe sets.

Three kinds, as for gateways: a server at a url, the pods of a ModelDeployment of the namespace, and a head of our own.
An answer may take as long as the Guardrail says, and whatever is not an answer is a failure with a reason.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import aiohttp
import orjson

from understudy.domain.conditions import is_ready
from understudy.domain.key import Key
from understudy.domain.names import ENGINE_PORT, LABEL_REVISION, child_name, service_host
from understudy.engine.bounded import read_bounded
from understudy.engine.cache import Cache
from understudy.engine.prober import Engine
from understudy.guard.linear import read_head
from understudy.guard.served.addresses import may_be_asked
from understudy.guard.served.codec import MAX_ANSWER, Question
from understudy.guard.served.judge import Judge, address_of
from understudy.kube.client import Object
from understudy.kube.resources import MODEL_DEPLOYMENT, MODEL_SNAPSHOT, POD
from understudy.plan.actions import Probe
from understudy.plan.desired.tls import speaks_tls
from understudy.plan.observed import Settings

# Where heads do their sums: out of the event loop's way.
aside = asyncio.to_thread


class AskError(Exception):
    """There is no answer; the message says why, and nothing of the text that was asked about."""


class Outside(Protocol):
    """Servers that are not ours."""

    async def ask(self, judge: Judge, question: Question) -> bytes:
        """The body of the answer to one question. Raises AskError, OSError or TimeoutError."""
        ...


class Detectors:
    """Asks whoever a Guardrail names."""

    def __init__(self, engine: Engine, outside: Outside, seat: Callable[[Key], Probe | None]) -> None:
        """`seat` is a pod of a ModelDeployment that can be asked now, None if there is none."""
        self._engine = engine
        self._outside = outside
        self._seat = seat

    async def ask(self, namespace: str, judge: Judge, question: Question) -> bytes:
        """The body of the answer to one question. Raises AskError, OSError, ValueError or TimeoutError."""
        if judge.head:
            scores = await aside(_scores, judge.head, str(question.body["text"]))
            return orjson.dumps(scores)
        if judge.url:
            return await self._outside.ask(judge, question)
        pod = self._seat(Key(namespace, judge.model))
        if pod is None:
            raise AskError(f"ModelDeployment {judge.model} has no pod that answers")
        body = {**question.body, "model": pod.model_id}
        return orjson.dumps(await self._engine.post(pod, question.path, body, judge.timeout))


def seat(cache: Cache, settings: Settings, key: Key) -> Probe | None:
    """A pod of what serves of a ModelDeployment, as it is asked; None if there is none."""
    deployment = cache.get(MODEL_DEPLOYMENT, key.namespace, key.name) or {}
    revision = str((deployment.get("status") or {}).get("stable") or "")
    ready = [pod for pod in cache.children(POD, key) if _revision(pod) == revision and _answers(pod)]
    if not revision or not ready:
        return None
    snapshot = cache.get(MODEL_SNAPSHOT, key.namespace, child_name(key.name, revision))
    tls = snapshot is not None and speaks_tls(snapshot["spec"]["podTemplate"])
    return Probe(
        pod_uid=ready[0]["metadata"]["uid"],
        address=ready[0]["status"]["podIP"],
        port=ENGINE_PORT,
        model_id=child_name(key.name, revision),
        root="",
        max_model_len=0,
        key=settings.engine_key(key.namespace, key.name, revision),
        interval=0.0,
        prompts=(),
        server_name=service_host(key.namespace, key.name, revision) if tls else "",
    )


class HttpOutside:
    """Asks over HTTP(S): no redirects, no proxies, at most 64 KiB, and no address that is the operator's own node."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """`session` is one of `outside_session`."""
        self._session = session

    async def ask(self, judge: Judge, question: Question) -> bytes:
        """As Outside."""
        scheme, host, port, target = address_of(judge.url, question.path)
        shown = f"[{host}]" if ":" in host else host
        try:
            async with (
                asyncio.timeout(judge.timeout),
                self._session.post(
                    f"{scheme}://{shown}:{port}{target}",
                    data=orjson.dumps(question.body),
                    headers={"Content-Type": "application/json", "Accept-Encoding": "identity", **question.fields},
                    allow_redirects=False,
                    ssl=_context(judge.authority) if scheme == "https" else True,
                ) as answer,
            ):
                if answer.status != 200:
                    raise AskError(f"status {answer.status}")
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise AskError("an answer that is compressed, though none was asked for")
                return await read_bounded(answer, MAX_ANSWER)
        except aiohttp.ClientError as error:
            raise AskError(f"no answer: {type(error).__name__}") from error


def outside_session() -> aiohttp.ClientSession:
    """A session that looks at every address that a name leads to, and connects to those alone."""
    connector = aiohttp.TCPConnector(resolver=CheckedResolver(), use_dns_cache=False, force_close=True)
    return aiohttp.ClientSession(connector=connector, auto_decompress=False)


class CheckedResolver(aiohttp.ThreadedResolver):
    """Names that lead to the operator itself or its node lead nowhere."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        """As ThreadedResolver; raises OSError."""
        found = await super().resolve(host, port, family)
        if not all(may_be_asked(each["host"]) for each in found):
            raise OSError("its name leads to the operator itself or its node, which are not asked")
        return found


def _scores(head: str, text: str) -> dict[str, float]:
    return read_head(head).scores(text)


def _context(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority:
        # Whoever is named is trusted, under another authority or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _revision(pod: Object) -> Any:
    return (pod["metadata"].get("labels") or {}).get(LABEL_REVISION)


def _answers(pod: Object) -> bool:
    return is_ready(pod) and bool(pod["status"].get("podIP")) and "deletionTimestamp" not in pod["metadata"]
