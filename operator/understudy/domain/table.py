"""The RoutingTable's spec as values: what the operator writes and the gateway obeys.

Both sides parse it here, so a table that one of them would refuse cannot be written by the other.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.domain.fields import NEVER_PASSED
from understudy.domain.money import Pricing, currency, decimal, nano
from understudy.domain.names import child_name

Track = Literal["stable", "canary", "shadow"]
LoggedText = Literal["none", "released", "raw"]
LOGGED_TEXTS: tuple[LoggedText, ...] = ("none", "released", "raw")
TRACKS: tuple[Track, ...] = ("stable", "canary", "shadow")
_REVISION = re.compile(r"[0-9a-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._/:]{0,127}")
_POLICY = re.compile(r"[0-9a-f]{64}")
_GUARDRAIL = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_SHARD = re.compile(r"understudy-guard-[0-9a-f]{16}-[0-9]{1,2}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST_TTL = 9999 * 86400
_HOST = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?(?::[0-9]{1,5})?")


class InvalidTableError(ValueError):
    """A routing table that must not be served; the message says which field and why."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One revision that takes conversations: `weight` is its share in percent, 0 to 100.

    `tls`: its pods are spoken to by TLS, and never otherwise.
    """

    revision: str
    track: Track
    weight: int
    service: str
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Per-deployment limits of a request, in seconds.

    A stream on which nothing has come for `heartbeat_after` gets its head, and comments from then on.
    """

    first_token: float = 60.0
    between_tokens: float = 30.0
    whole: float = 1800.0
    heartbeat_after: float = 10.0


@dataclass(frozen=True, slots=True)
class Queue:
    """How requests wait for a pod: at most `max` of them in one gateway, each at most `deadline` seconds.

    A pod with `per_pod` open requests of that gateway is full; 0: it never is.
    """

    max: int = 200
    deadline: float = 60.0
    per_pod: int = 0


@dataclass(frozen=True, slots=True)
class Logging:
    """Which texts the request log keeps: none, those that clients got, or those before guardrails.

    Of a share `sample` (0 to 1) of the requests, so many bytes of one text, and how many seconds whoever collects the
    log may keep them.
    """

    text: LoggedText = "none"
    sample: float = 1.0
    max_bytes: int = 16384
    ttl: float = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Shadow:
    """How requests that stable answers are copied to the variant of track `shadow`, whose answers nobody sees.

    `percent` of them, 1 to 100. A first token and a gap between two tokens count as good up to `first_token` and
    `between_tokens` seconds. `text`: the gateway also keeps both answers' texts.
    """

    percent: int
    first_token: float
    between_tokens: float
    text: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """The policy of one Guardrail that holds for the deployment.

    `policy` is its hash, `shards` are the immutable ConfigMaps of the deployment's namespace that hold it, in order.
    A gateway that cannot load it refuses, or lets pass if it is `open`. Streams that began under the policy
    `revoke_before`, or one that was loaded before that, end at once; "" revokes none.
    """

    name: str
    policy: str
    shards: tuple[str, ...]
    open: bool = False
    revoke_before: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One deployment's routing: names, variants, and the leader's epoch that wrote it.

    No variants means that nothing serves yet: requests wait.
    `salt` is the candidate's revision, also while it is watched after its promotion, empty without one: it makes
    each rollout's split its own, and has gateways sample what becomes of conversations.
    `cut` are revisions of which no further word may reach a client: their open streams end with an error.
    `shadow` is there if and only if one variant has that track.
    `fallback` are served names that take requests which the deployment cannot serve, the first one first.
    `logging` is what the request log keeps of what was said.
    `extra_fields` of requests are passed on beside the usual ones, `media_hosts` may be named in their media URLs.
    `pricing` is None where nobody has said what requests cost.
    `guards` are the Guardrails that hold for the deployment, by name; all of them apply to every answer.
    """

    epoch: int
    served_names: tuple[str, ...]
    variants: tuple[Variant, ...]
    salt: str = ""
    retired: bool = False
    timeouts: Timeouts = Timeouts()
    queue: Queue = Queue()
    session_from_user: bool = False
    cut: tuple[str, ...] = ()
    shadow: Shadow | None = None
    extra_fields: tuple[str, ...] = ()
    media_hosts: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    pricing: Pricing | None = None
    logging: Logging = Logging()
    guards: tuple[Guard, ...] = ()


def parse_table(deployment: str, spec: Mapping[str, Any]) -> Table:
    """Read a RoutingTable's spec, refusing what must not be served.

    Raises InvalidTableError: unknown track, duplicate revision, weights that are not whole
    numbers summing to 100 (or no variant at all), a service that is not the revision's own, a revision
    that is cut and a variant, a second shadow or one with a share, a shadow without its settings or the reverse,
    an extra field that is never passed on, a price that is no decimal, a guard without shards or twice.
    """
    epoch = spec.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise InvalidTableError("spec.epoch: want a whole number, 0 or more")
    names = _names("spec.servedNames", spec.get("servedNames", ()))
    variants = tuple(_variant(deployment, item) for item in spec.get("variants", ()))
    if len({v.revision for v in variants}) != len(variants):
        raise InvalidTableError("spec.variants: a revision appears twice")
    live = [v for v in variants if v.track != "shadow"]
    if live and sum(v.weight for v in live) != 100:
        raise InvalidTableError("spec.variants: weights must sum to 100")
    cut = tuple(_revision("spec.cut", revision) for revision in spec.get("cut", ()))
    for revision in sorted({v.revision for v in variants}.intersection(cut)):
        raise InvalidTableError(f"spec.cut: {revision} is a variant too")
    timeouts = spec.get("timeouts", {})
    limits = "spec.timeouts"
    return Table(
        epoch=epoch,
        served_names=names,
        variants=variants,
        salt=str(spec.get("salt", "")),
        retired=bool(spec.get("retired", False)),
        timeouts=Timeouts(
            first_token=_seconds(limits, timeouts, "firstTokenSeconds", 60.0),
            between_tokens=_seconds(limits, timeouts, "betweenTokensSeconds", 30.0),
            whole=_seconds(limits, timeouts, "wholeSeconds", 1800.0),
            heartbeat_after=_seconds(limits, timeouts, "heartbeatAfterSeconds", 10.0),
        ),
        queue=_queue(spec.get("queue", {})),
        session_from_user=bool(spec.get("sessionFromUser", False)),
        cut=cut,
        shadow=_shadow(spec.get("shadow"), [v for v in variants if v.track == "shadow"]),
        extra_fields=_extra_fields(spec.get("extraFields", ())),
        media_hosts=_media_hosts(spec.get("mediaHosts", ())),
        fallback=_names("spec.fallback", spec.get("fallback", ())),
        pricing=_pricing(spec.get("pricing")),
        logging=_logging(spec.get("logging", {})),
        guards=_guards(spec.get("guards", ())),
    )


def table_spec(table: Table) -> dict[str, Any]:
    """Inverse of `parse_table`: the spec to write, every field explicit but those that hardly any table has."""
    spec: dict[str, Any] = {
        "epoch": table.epoch,
        "servedNames": list(table.served_names),
        "variants": [
            {
                "revision": v.revision,
                "track": v.track,
                "weight": v.weight,
                "service": v.service,
                **({"tls": True} if v.tls else {}),
            }
            for v in table.variants
        ],
        "salt": table.salt,
        "retired": table.retired,
        "timeouts": {
            "firstTokenSeconds": table.timeouts.first_token,
            "betweenTokensSeconds": table.timeouts.between_tokens,
            "wholeSeconds": table.timeouts.whole,
        },
        "sessionFromUser": table.session_from_user,
        "cut": list(table.cut),
    }
    if table.timeouts.heartbeat_after != Timeouts().heartbeat_after:
        spec["timeouts"]["heartbeatAfterSeconds"] = table.timeouts.heartbeat_after
    if table.queue != Queue():
        spec["queue"] = {"max": table.queue.max, "deadlineSeconds": table.queue.deadline}
        if table.queue.per_pod:
            spec["queue"]["perPod"] = table.queue.per_pod
    if table.shadow is not None:
        spec["shadow"] = {
            "percent": table.shadow.percent,
            "firstTokenSeconds": table.shadow.first_token,
            "betweenTokensSeconds": table.shadow.between_tokens,
            "text": table.shadow.text,
        }
    if table.extra_fields:
        spec["extraFields"] = list(table.extra_fields)
    if table.media_hosts:
        spec["mediaHosts"] = list(table.media_hosts)
    if table.fallback:
        spec["fallback"] = list(table.fallback)
    if table.pricing is not None:
        spec["pricing"] = {
            "inputPerMillion": decimal(table.pricing.input),
            "outputPerMillion": decimal(table.pricing.output),
            "perRequest": decimal(table.pricing.request),
            "currency": table.pricing.currency,
        }
    if table.logging != Logging():
        spec["logging"] = {
            "text": table.logging.text,
            "sample": table.logging.sample,
            "maxBytes": table.logging.max_bytes,
            "ttlSeconds": table.logging.ttl,
        }
    if table.guards:
        spec["guards"] = [
            {
                "name": guard.name,
                "policy": guard.policy,
                "shards": list(guard.shards),
                **({"failOpen": True} if guard.open else {}),
                **({"revokeBefore": guard.revoke_before} if guard.revoke_before else {}),
            }
            for guard in table.guards
        ]
    return spec


def _variant(deployment: str, item: Mapping[str, Any]) -> Variant:
    revision, track, weight = _revision("spec.variants", item.get("revision")), item.get("track"), item.get("weight")
    if track not in TRACKS:
        raise InvalidTableError(f"spec.variants[{revision}].track: {track!r} is none of {', '.join(TRACKS)}")
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= 100:
        raise InvalidTableError(f"spec.variants[{revision}].weight: want a whole number from 0 to 100")
    if item.get("service") != child_name(deployment, revision):
        raise InvalidTableError(f"spec.variants[{revision}].service: want {child_name(deployment, revision)!r}")
    tls = item.get("tls", False)
    if not isinstance(tls, bool):
        raise InvalidTableError(f"spec.variants[{revision}].tls: want true or false")
    return Variant(revision, track, weight, child_name(deployment, revision), tls)


def _queue(settings: Mapping[str, Any]) -> Queue:
    most, per_pod = settings.get("max", 200), settings.get("perPod", 0)
    for name, count in (("max", most), ("perPod", per_pod)):
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= 100_000:
            raise InvalidTableError(f"spec.queue.{name}: want a whole number from 0 to 100000")
    return Queue(most, _seconds("spec.queue", settings, "deadlineSeconds", 60.0), per_pod)


def _logging(settings: Mapping[str, Any]) -> Logging:
    text, sample, most = settings.get("text", "none"), settings.get("sample", 1.0), settings.get("maxBytes", 16384)
    if text not in LOGGED_TEXTS:
        raise InvalidTableError(f"spec.logging.text: {text!r} is none of {', '.join(LOGGED_TEXTS)}")
    if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
        raise InvalidTableError("spec.logging.sample: want a number from 0 to 1")
    if not isinstance(most, int) or isinstance(most, bool) or not 0 <= most <= 1_048_576:
        raise InvalidTableError("spec.logging.maxBytes: want a whole number from 0 to 1048576")
    ttl = _seconds("spec.logging", settings, "ttlSeconds", Logging().ttl, longest=_LONGEST_TTL)
    return Logging(text, float(sample), most, ttl)


def _shadow(settings: Mapping[str, Any] | None, variants: Sequence[Variant]) -> Shadow | None:
    if len(variants) > 1:
        raise InvalidTableError("spec.variants: only one may have track shadow")
    for variant in variants:
        if variant.weight != 0:
            raise InvalidTableError(f"spec.variants[{variant.revision}].weight: want 0 for a shadow")
    if settings is None:
        if variants:
            raise InvalidTableError("spec.shadow: want it beside a variant of track shadow")
        return None
    if not variants:
        raise InvalidTableError("spec.shadow: want a variant of track shadow beside it")
    percent, text = settings.get("percent"), settings.get("text", False)
    if not isinstance(percent, int) or isinstance(percent, bool) or not 1 <= percent <= 100:
        raise InvalidTableError("spec.shadow.percent: want a whole number from 1 to 100")
    if not isinstance(text, bool):
        raise InvalidTableError("spec.shadow.text: want true or false")
    return Shadow(
        percent=percent,
        first_token=_seconds("spec.shadow", settings, "firstTokenSeconds"),
        between_tokens=_seconds("spec.shadow", settings, "betweenTokensSeconds"),
        text=text,
    )


def _pricing(prices: Mapping[str, Any] | None) -> Pricing | None:
    if prices is None:
        return None
    try:
        named = currency(str(prices.get("currency", "USD")))
    except ValueError as error:
        raise InvalidTableError(f"spec.pricing.currency: {error}") from None
    each = _price(prices, "inputPerMillion"), _price(prices, "outputPerMillion")
    return Pricing(*each, named, request=_price(prices, "perRequest", "0"))


def _price(prices: Mapping[str, Any], field: str, default: str = "") -> int:
    price = prices.get(field, default)
    try:
        # A number has been through binary fractions, and need not be what was written.
        return nano(price if isinstance(price, str) else "")
    except ValueError as error:
        raise InvalidTableError(f"spec.pricing.{field}: {error}, in quotes") from None


def _guards(items: Sequence[Mapping[str, Any]]) -> tuple[Guard, ...]:
    guards = tuple(_guard(item) for item in items)
    if len({guard.name for guard in guards}) != len(guards):
        raise InvalidTableError("spec.guards: a Guardrail appears twice")
    return guards


def _guard(item: Mapping[str, Any]) -> Guard:
    name = item.get("name")
    if not isinstance(name, str) or not _GUARDRAIL.fullmatch(name):
        raise InvalidTableError(f"spec.guards: {name!r} is not the name of a Guardrail")
    where = f"spec.guards[{name}]"
    shards, opened, revoked = tuple(item.get("shards", ())), item.get("failOpen", False), item.get("revokeBefore", "")
    if not shards:
        raise InvalidTableError(f"{where}.shards: want the ConfigMaps that hold the policy")
    for shard in shards:
        # Whoever writes a table must not make gateways read other ConfigMaps.
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise InvalidTableError(f"{where}.shards: {shard!r} is not called as a part of a policy")
    if not isinstance(opened, bool):
        raise InvalidTableError(f"{where}.failOpen: want true or false")
    policy = _policy(f"{where}.policy", item.get("policy"))
    if revoked == policy:
        raise InvalidTableError(f"{where}.revokeBefore: it would end all streams, those under this policy included")
    return Guard(name, policy, shards, opened, _policy(f"{where}.revokeBefore", revoked) if revoked else "")


def _policy(where: str, value: Any) -> str:
    if not isinstance(value, str) or not _POLICY.fullmatch(value):
        raise InvalidTableError(f"{where}: {value!r} is not 64 hexadecimal digits")
    return value


def _names(field: str, names: Sequence[Any]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidTableError(f"{field}: {name!r} is not a model name")
    return tuple(names)


def _extra_fields(names: Sequence[Any]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or not _FIELD.fullmatch(name):
            raise InvalidTableError(f"spec.extraFields: {name!r} is not a field's name")
        if name in NEVER_PASSED:
            raise InvalidTableError(f"spec.extraFields: {name} is never passed on")
    return tuple(names)


def _media_hosts(hosts: Sequence[Any]) -> tuple[str, ...]:
    for host in hosts:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise InvalidTableError(f"spec.mediaHosts: {host!r} is not a host in lower case, or host:port")
    return tuple(hosts)


def _revision(field: str, value: Any) -> str:
    if not isinstance(value, str) or not _REVISION.fullmatch(value):
        raise InvalidTableError(f"{field}: revision {value!r} is not 8 hexadecimal digits")
    return value


def _seconds(
    where: str, source: Mapping[str, Any], field: str, default: float | None = None, longest: int = 86400
) -> float:
    value = source.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest:
        raise InvalidTableError(f"{where}.{field}: want seconds between 0 and {longest}")
    return float(value)
