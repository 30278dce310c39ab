"""`kubectl understudy plan -f`: what applying a file would do, by the operator's own planner; nothing is written."""

import argparse
from collections.abc import AsyncIterator
from dataclasses import replace

from understudy.cli.plugin import flags, forecast_view
from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.forecast import Forecast, forecast
from understudy.cli.plugin.gathering import Installation, gather, installation
from understudy.cli.plugin.manifests import Manifests, read
from understudy.cli.plugin.session import Session
from understudy.cli.plugin.trying import Tried, tried
from understudy.engine.wake import model_name
from understudy.kube.client import Object
from understudy.kube.resources import GUARDRAIL, MODEL, MODEL_DEPLOYMENT, Resource
from understudy.plan.guards import holds_for

# Kinds that a deployment is applied with, and what the API server has against some of them, by name.
_WITH = (MODEL, GUARDRAIL)
Refused = dict[tuple[Resource, str, str], str]

EPILOG = """\
  kubectl understudy plan -f storyteller.yaml
  kubectl understudy plan -f deploy/                         a folder; Models in it count as applied
  kubectl understudy plan -f model.yaml                      the deployments that use this Model
  kubectl understudy plan -f guardrail.yaml                  the deployments for which it would hold
  helm template … | kubectl understudy plan -f - -o json

The API server is asked by dry run whether it would take the objects; the rest is the operator's planner, run on what
the cluster holds now. Whether new pods find room is for the scheduler to say, how the new revision behaves for the
rollout. Exit status: 0 if it would be taken, 1 if it would be refused or wait for something.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `plan`."""
    parser.add_argument(
        *("-f", "--filename"), action="append", required=True, metavar="FILE", help="file, folder or -; repeatable"
    )
    parser.add_argument("--server-side", action="store_true", help="as kubectl apply --server-side would do it")
    parser.add_argument(
        "--system-namespace",
        type=flags.namespace,
        default="understudy-system",
        metavar="NAME",
        help="where the operator runs (%(default)s)",
    )


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show it; 1 if anything of it would not be taken."""
    files = read(args.filename, session.namespace, given=bool(args.namespace))
    settings = await installation(session.client, args.system_namespace)
    found = [told async for told in _forecasts(session, files, settings, server_side=args.server_side)]
    if not found:
        raise PluginError(
            f"{', '.join(args.filename)} holds no ModelDeployment, and no Model that one uses, nor a Guardrail for one"
        )
    if args.output:
        session.out.write(rendered({"items": [document(told) for told in found]}, args.output))
    else:
        for told in found:
            session.show([*forecast_view.shown(told, session.screen), ""])
        session.show(["Nothing was written."])
    return 0 if all(told.good for told in found) else 1


async def _forecasts(
    session: Session, files: Manifests, settings: Installation, *, server_side: bool
) -> AsyncIterator[Forecast]:
    asked = [await _tried(session, files, *one, server_side=server_side) for one in files.objects if one[0] in _WITH]
    refused = {(kind, *_name(made.result)): made.refusal for kind, made in asked if made.refusal}
    others = tuple(one for one in files.objects if one[0] not in _WITH)
    files = replace(files, objects=(*others, *((kind, made.result) for kind, made in asked)))
    for wanted in files.of(MODEL_DEPLOYMENT):
        _, made = await _tried(session, files, MODEL_DEPLOYMENT, wanted, server_side=server_side)
        yield await _one(session, files, settings, made, refused)
    planned = {_name(obj) for obj in files.of(MODEL_DEPLOYMENT)}
    for kind in _WITH:
        for applied in files.of(kind):
            for live in await Reader(session.client, _name(applied)[0]).listed(MODEL_DEPLOYMENT):
                if _name(live) not in planned and _concerns(kind, applied, live):
                    planned.add(_name(live))
                    yield await _one(session, files, settings, Tried(live, live), refused)


def _concerns(kind: Resource, applied: Object, deployment: Object) -> bool:
    """Whether a Model is used by the deployment, or a Guardrail holds for it."""
    if kind == MODEL:
        return bool(model_name(deployment) == applied["metadata"]["name"])
    return holds_for(applied, deployment)


async def _one(session: Session, files: Manifests, settings: Installation, made: Tried, refused: Refused) -> Forecast:
    namespace, name = _name(made.result)
    notes = (*settings.notes, *([made.note] if made.note else []))
    beside = (f"{kind.kind} {of}: {why}" for (kind, where, of), why in refused.items() if where == namespace)
    refusal = made.refusal or next(beside, "")
    if refusal:
        return Forecast(
            namespace, name, "refused", f"it would be refused: {refusal}", notes=notes[len(settings.notes) :]
        )
    if settings.watched and namespace not in settings.watched:
        watched = ", ".join(settings.watched)
        return Forecast(namespace, name, "waits", f"nobody would look at it: the operator works in {watched} only")
    found = await gather(session.reader, files, made.result, settings.settings)
    return forecast(found.observed, made.live, whole=found.whole, notes=(*notes, *found.notes))


async def _tried(
    session: Session, files: Manifests, resource: Resource, obj: Object, *, server_side: bool
) -> tuple[Resource, Tried]:
    reader = Reader(session.client, obj["metadata"]["namespace"])
    return resource, await tried(reader, resource, obj, files, server_side=server_side)


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
