"""`kubectl understudy plan -f`: what applying a file would do, by the operator's own planner; nothing is written."""

import argparse
from collections.abc import AsyncIterator
from dataclasses import replace

from understudy.cli.plugin import forecast_view
from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.forecast import Forecast, forecast
from understudy.cli.plugin.gathering import Installation, gather, installation
from understudy.cli.plugin.manifests import Manifests, read
from understudy.cli.plugin.session import Session
from understudy.cli.plugin.trying import Tried, tried
from understudy.kube.client import Object
from understudy.kube.resources import MODEL, MODEL_DEPLOYMENT

EPILOG = """\
  kubectl understudy plan -f storyteller.yaml
  kubectl understudy plan -f deploy/                         a folder; Models in it count as applied
  kubectl understudy plan -f model.yaml                      the deployments that use this Model
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
        "--system-namespace", default="understudy-system", metavar="NAME", help="where the operator runs (%(default)s)"
    )


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show it; 1 if anything of it would not be taken."""
    files = read(args.filename, session.namespace, given=bool(args.namespace))
    settings = await installation(session.client, args.system_namespace)
    found = [told async for told in _forecasts(session, files, settings, server_side=args.server_side)]
    if not found:
        raise PluginError(f"{', '.join(args.filename)} holds no ModelDeployment, and no Model that one uses")
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
    models = [await _tried(session, files, model, server_side=server_side) for model in files.of(MODEL)]
    refused = {_name(made.result): made.refusal for made in models if made.refusal}
    others = tuple((resource, obj) for resource, obj in files.objects if resource != MODEL)
    files = replace(files, objects=(*others, *((MODEL, made.result) for made in models)))
    for wanted in files.of(MODEL_DEPLOYMENT):
        made = await _tried(session, files, wanted, server_side=server_side)
        yield await _one(session, files, settings, made, refused)
    planned = {_name(obj) for obj in files.of(MODEL_DEPLOYMENT)}
    for model in files.of(MODEL):
        namespace, name = _name(model)
        for live in await Reader(session.client, namespace).listed(MODEL_DEPLOYMENT):
            if _name(live) not in planned and live["spec"]["modelRef"]["name"] == name:
                yield await _one(session, files, settings, Tried(live, live), refused)


async def _one(
    session: Session, files: Manifests, settings: Installation, made: Tried, refused: dict[tuple[str, str], str]
) -> Forecast:
    namespace, name = _name(made.result)
    model = str(((made.result.get("spec") or {}).get("modelRef") or {}).get("name", ""))
    refusal = made.refusal or refused.get((namespace, model), "")
    notes = [*settings.notes, *([made.note] if made.note else [])]
    if refusal:
        return Forecast(namespace, name, "refused", f"the API server refuses it: {refusal}", notes=tuple(notes))
    if settings.watched and namespace not in settings.watched:
        watched = ", ".join(settings.watched)
        sentence = f"nobody would look at it: the operator works in {watched} only"
        return Forecast(namespace, name, "waits", sentence, notes=tuple(notes))
    observed, missing = await gather(session.reader, files, made.result, settings.settings)
    return forecast(observed, made.live, (*notes, *missing))


async def _tried(session: Session, files: Manifests, obj: Object, *, server_side: bool) -> Tried:
    reader = Reader(session.client, obj["metadata"]["namespace"])
    resource = MODEL if obj["kind"] == MODEL.kind else MODEL_DEPLOYMENT
    return await tried(reader, resource, obj, files, server_side=server_side)


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
