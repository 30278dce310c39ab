"""Which deployment a player's request goes to, where their level or a rung of a ladder wants another than they ask for.

A level's SwitchModel is a favour: where it cannot be done the model that was asked for answers. A rung's keeps somebody
from a model, so it asks for no right of the key, has no way around it, and where it cannot be done the failure policy
of its Guardrail says what becomes of the request.
"""

from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.fallback import next_fallback
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import Operation, check_fields
from understudy.gateway.table import Entry, Routes
from understudy.gateway.wire.playing import Turn, break_of
from understudy.gateway.wire.refusals import UNAVAILABLE
from understudy.guard.ladder import Rung


@dataclass(frozen=True, slots=True)
class Way:
    """The deployment that takes a request, and by which name, empty for the one asked for.

    `held`: for a rung, so that nobody else may take it. `fields` are header lines for the answer.
    """

    entry: Entry
    name: str = ""
    held: bool = False
    fields: bytes = b""


def way_of(
    playing: Turn | None, routes: Routes, key: AccessKey, entry: Entry, operation: Operation, document: dict[str, Any]
) -> Way:
    """Where a request goes that asks for `entry`; nowhere if its turn is `kept`."""
    if playing is None:
        return Way(entry)
    if playing.ruling(entry).says("SwitchModel"):
        return _held(playing, routes, entry, operation, document)
    # A name that the key may not use, or that does not take the request, is passed over, as it is for a fallback.
    names = playing.open_to(playing.switches_to, routes)
    found = next_fallback(names, routes, key, (entry.key,), operation, document)
    return Way(entry) if found is None else Way(found[1], found[0])


def _held(playing: Turn, routes: Routes, asked: Entry, operation: Operation, document: dict[str, Any]) -> Way:
    """The deployment at the end of all rungs that say SwitchModel; round in a circle there is none."""
    entry, name, passed = asked, "", {asked.key}
    while True:
        ruling = playing.ruling(entry)
        if ruling.says("CoolDown"):
            playing.kept = break_of(playing.left(ruling.hold))
            return Way(asked, held=True)
        rung = ruling.rung
        if rung is None or not ruling.says("SwitchModel") or rung.to in entry.names:
            return Way(entry, name, held=True)
        found = _safe(rung, routes, entry, operation, document)
        if found is None or found.key in passed:
            if not rung.passes:
                playing.kept = UNAVAILABLE
                return Way(asked, held=True)
            # Nobody is kept from what the policy lets pass, and everybody can see that it did.
            return Way(asked, fields=_NOT_SWITCHED % rung.to.encode())
        entry, name = found, rung.to
        passed.add(entry.key)


_NOT_SWITCHED: Final = b"x-understudy-not-switched: %b\r\n"


def _safe(rung: Rung, routes: Routes, entry: Entry, operation: Operation, document: dict[str, Any]) -> Entry | None:
    """The deployment of the same namespace that a rung names, if it is there and takes the request."""
    namespace = entry.served.namespace
    for name in (f"{namespace}/{rung.to}", rung.to):
        found = routes.names.get(name)
        if found is not None and found.served.namespace == namespace and not found.unguarded:
            table = found.served.table
            taken = check_fields(operation, document, table.extra_fields, table.media_hosts) is None
            return found if taken else None
    return None
