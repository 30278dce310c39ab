"""What each CEL rule refuses, as a table: kind, where the rule is, the changes that break it, its message."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api.examples import GONE
from understudy.crdgen.checker import children
from understudy.crdgen.crd import schema
from understudy.crdgen.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Case:
    """Changes to an example and what the rule at `path` (as the schema has it) then says."""

    kind: str
    path: str
    message: str
    changes: Mapping[str, Any]
    of: str = ""
    name: str = field(default="")

    def __str__(self) -> str:
        return f"{self.kind}{self.path}-{self.name or ','.join(self.changes)}"


def rules() -> Iterator[tuple[str, str, str]]:
    """Kind, path and message of every rule in every schema."""
    for kind in KINDS:
        yield from _walk(kind.name, "", schema(kind))


def _walk(kind: str, path: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield kind, path, rule["message"]
    for where, child in children(node, path):
        yield from _walk(kind, where, child)


def _steps(*weights: int) -> list[dict[str, Any]]:
    return [{"weight": weight, "soak": "1m"} for weight in weights]


def _deployment(path: str, message: str, changes: Mapping[str, Any], of: str = "", name: str = "") -> Case:
    return Case("ModelDeployment", path, message, changes, of, name)


_NAME = "metadata.name: write at most 48 lower case letters"
_FLAGS = "remove --model, --served-model-name, --host, --port and --api-key"
_ENV = ".spec.engine.env[*]"
_ONE_OF_ENV = "write exactly one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef"
_NEVER = "remove this field: it is never passed on"
_ENV_FROM = "write exactly one of configMapRef"
_CLAIM = "blue-green-on-claims"
_DEPLOYMENT = [
    _deployment("", _NAME, {"metadata.name": "a" * 49}, name="too-long"),
    _deployment("", _NAME, {"metadata.name": "4u"}, name="begins-with-a-digit"),
    _deployment("", _NAME, {"metadata.name": "with.dot"}, name="dot"),
    _deployment(".spec.engine", "write image", {"spec.engine.image": GONE}),
    _deployment(".spec.engine", "write image", {"spec.engine": {}}, name="nothing"),
    *(
        _deployment(".spec.engine.args[*]", _FLAGS, {"spec.engine.args": [arg]}, name=arg)
        for arg in (
            "--model",
            "--model=/x",
            "--model-id=x",
            "--served-model-name=x",
            "--served_model_name",
            "--served",
            "--host=::",
            "--port",
            "--api-key=x",
            "--api_key",
        )
    ),
    _deployment(_ENV, "write value or valueFrom", {"spec.engine.env.1.value": "x"}),
    _deployment(_ENV, "remove VLLM_API_KEY", {"spec.engine.env.0.name": "VLLM_API_KEY"}),
    _deployment(f"{_ENV}.valueFrom", _ONE_OF_ENV, {"spec.engine.env.1.valueFrom": {}}, name="none"),
    _deployment(
        f"{_ENV}.valueFrom", _ONE_OF_ENV, {"spec.engine.env.1.valueFrom.fieldRef": {"fieldPath": "x"}}, name="two"
    ),
    _deployment(
        ".spec.engine.envFrom[*]",
        "write exactly one of configMapRef",
        {"spec.engine.envFrom.0.secretRef": {"name": "s"}},
    ),
    _deployment(".spec.engine.envFrom[*]", _ENV_FROM, {"spec.engine.envFrom.1.secretRef": GONE}),
    _deployment(".spec.accelerator", "write resource (such as", {"spec.accelerator": {}}, name="nothing"),
    _deployment(".spec.accelerator", "write resource (such as", {"spec.accelerator.resource": "amd.com/gpu"}, _CLAIM),
    _deployment(".spec.accelerator", "remove count, products", {"spec.accelerator.count": 2}, _CLAIM),
    _deployment(".spec.accelerator", "remove count, products", {"spec.accelerator.products": ["L4"]}, _CLAIM),
    _deployment(".spec.accelerator", "remove count, products", {"spec.accelerator.minMemory": "1Gi"}, _CLAIM),
    _deployment(
        ".spec.probes.prompts[*].expect",
        "write another pattern in mustNotMatch",
        {"spec.probes.prompts.0.expect.mustNotMatch": "(?i)yes"},
    ),
    _deployment(".spec.rollout", "remove steps: BlueGreen", {"spec.rollout.strategy": "BlueGreen"}),
    _deployment(".spec.rollout", "remove autoPromoteAfter", {"spec.rollout.autoPromoteAfter": "10m"}, name="Canary"),
    _deployment(".spec.rollout", "remove autoPromoteAfter", {"spec.rollout.strategy": GONE}, _CLAIM),
    *(
        _deployment(
            ".spec.rollout",
            "remove shadow: it comes before the first step",
            {"spec.rollout": {"strategy": strategy, "shadow": {"percent": 5}}},
            name=strategy,
        )
        for strategy in ("BlueGreen", "Immediate")
    ),
    _deployment(".spec.rollout", "capacity.mode: Recreate", {"spec.rollout.capacity": {"mode": "Recreate"}}),
    _deployment(
        ".spec.rollout", "capacity.mode: Recreate", {"spec.rollout": {"capacity": {"mode": "Recreate"}}}, name="default"
    ),
    *(
        _deployment(
            ".spec.rollout.steps",
            "write each weight higher than the one before",
            {"spec.rollout.steps": _steps(*weights)},
            name=str(weights),
        )
        for weights in ((50, 10, 100), (10, 10, 100), (10, 100, 100))
    ),
    _deployment(".spec.rollout.steps", "write weight: 100 in the last step", {"spec.rollout.steps": _steps(10, 99)}),
    *(
        _deployment(
            ".spec.rollout.capacity",
            "remove maxUnavailable",
            {"spec.rollout": {"strategy": "Immediate", "capacity": {"mode": mode, "maxUnavailable": 1}}},
            name=mode,
        )
        for mode in ("Surge", "Recreate")
    ),
    *(
        _deployment(".spec.api.extraFields[*]", _NEVER, {"spec.api.extraFields": [name]}, name=name)
        for name in (
            "chat_template",
            "kv_transfer_params",
            "ec_transfer_params",
            "mm_processor_kwargs",
            "media_io_kwargs",
            "priority",
            "request_id",
            "session_id",
            "vllm_xargs",
            "cache_salt",
        )
    ),
]

_ONE_SOURCE = "write exactly one of huggingFace, pvc, image, enginePath, s3"
_MODEL = [
    Case("Model", ".spec.source", _ONE_SOURCE, {"spec.source": {}}, name="none"),
    Case("Model", ".spec.source", _ONE_SOURCE, {"spec.source.enginePath": "/x"}, name="two"),
    Case("Model", ".spec.adapters[*].source", _ONE_SOURCE, {"spec.adapters.0.source": {}}, name="none"),
]


def _guardrail(path: str, message: str, changes: Mapping[str, Any], name: str = "") -> Case:
    return Case("Guardrail", path, message, changes, name=name)


_DETECTOR = ".spec.detectors[*]"
_SERVED = "types moderations, chat-guard and fms need modelRef"
_RUNG = ".spec.ladder[*]"
_AXES = "PauseRollout, Rollback and Quarantine go with"
_RISE = "write thresholds that rise"
_COUNT = "per session or player needs count"
_GUARDRAIL = [
    *(
        _guardrail(
            ".spec.engagement",
            "write switchTo (a served name): SwitchModel goes to it",
            {"spec.engagement.switchTo": GONE, "spec.engagement.actions": {level: ["Remind", "SwitchModel"]}},
            name=level,
        )
        for level in ("L1", "L2", "L3")
    ),
    _guardrail(".spec.engagement.locales[*]", "write notice, reminder, or both", {"spec.engagement.locales.de-AT": {}}),
    _guardrail(
        ".spec",
        "self_harm must not be unguarded",
        {"spec.failurePolicy": "Open", "spec.rules.0.failurePolicy": GONE},
        name="self-harm-by-default",
    ),
    _guardrail(".spec", "minors must not be unguarded", {"spec.audience": "minors", "spec.failurePolicy": "Open"}),
    _guardrail(
        ".spec", "minors must not be unguarded", {"spec.audience": "minors", "spec.rules.1.failurePolicy": "Open"}
    ),
    _guardrail(".spec", "remove fictionAllowance: there is none", {"spec.audience": "minors"}),
    *(
        _guardrail(
            ".spec",
            "write crisis.locales",
            {"spec.crisis": GONE, "spec.rules": [{"category": "self_harm", "actions": {level: [action]}}]},
            name=f"{level}-{action}",
        )
        for level in ("low", "medium", "high")
        for action in ("CrisisFlow", "CrisisBanner")
    ),
    _guardrail(
        ".spec.selector.matchExpressions[*]",
        "write values with operator In or NotIn",
        {"spec.selector.matchExpressions.0.values": GONE},
    ),
    _guardrail(
        ".spec.selector.matchExpressions[*]",
        "write values with operator In or NotIn",
        {"spec.selector.matchExpressions.0.operator": "Exists"},
    ),
    _guardrail(_DETECTOR, "type: patterns needs patterns", {"spec.detectors.3.patterns": GONE}),
    _guardrail(_DETECTOR, "remove patterns: they belong", {"spec.detectors.3.type": "pii"}),
    _guardrail(_DETECTOR, "remove entities: they belong", {"spec.detectors.0.type": "fms"}),
    _guardrail(_DETECTOR, "types lexicon and linear need configMapRef", {"spec.detectors.1.configMapRef": GONE}),
    _guardrail(_DETECTOR, "remove configMapRef: it belongs", {"spec.detectors.1.type": "pii"}),
    _guardrail(_DETECTOR, _SERVED, {"spec.detectors.2.modelRef": GONE}, name="neither"),
    _guardrail(_DETECTOR, _SERVED, {"spec.detectors.2.url": "https://x"}, name="both"),
    _guardrail(_DETECTOR, "remove modelRef, url and timeout", {"spec.detectors.0.timeout": "1s"}),
    _guardrail(_DETECTOR, "remove modelRef, url and timeout", {"spec.detectors.0.modelRef": {"name": "x"}}),
    _guardrail(_DETECTOR, "write parser, such as", {"spec.detectors.2.parser": GONE}),
    _guardrail(_DETECTOR, "write parser, such as", {"spec.detectors.0.parser": "x/v1"}),
    _guardrail(_DETECTOR, "remove caRef", {"spec.detectors.2.caRef": {"name": "ca"}}),
    _guardrail(_DETECTOR, "remove params: they belong", {"spec.detectors.2.params": {"regex": ["email"]}}),
    _guardrail(_DETECTOR, "remove canary: it belongs", {"spec.detectors.0.canary": {"clear": "x"}}),
    _guardrail(
        f"{_DETECTOR}.patterns[*]", "write exactly one of literal, regex", {"spec.detectors.3.patterns.0.literal": "x"}
    ),
    _guardrail(
        f"{_DETECTOR}.patterns[*]", "write exactly one of literal, regex", {"spec.detectors.3.patterns.0.regex": GONE}
    ),
    _guardrail(".spec.rules[*]", "self_harm must not be unguarded", {"spec.rules.0.failurePolicy": "Open"}),
    _guardrail(".spec.rules[*]", "remove fictionAllowance: self_harm", {"spec.rules.0.fictionAllowance": 1}),
    _guardrail(".spec.rules[*]", "remove fictionAllowance: sexual_minors", {"spec.rules.2.category": "sexual_minors"}),
    *(
        _guardrail(
            ".spec.rules[*].thresholds",
            "write thresholds that rise",
            {"spec.rules.0.thresholds": values},
            name=str(values),
        )
        for values in ({"low": 0.5, "medium": 0.5}, {"medium": 0.9, "high": 0.5}, {"low": 0.9, "high": 0.1})
    ),
    _guardrail(".spec.rules[*].actions", "write actions for at least one", {"spec.rules.1.actions": {}}),
    _guardrail(_RUNG, _COUNT, {"spec.ladder.0.count": GONE}),
    _guardrail(_RUNG, _COUNT, {"spec.ladder.0.within": GONE, "spec.ladder.0.per": "player"}),
    _guardrail(_RUNG, "remove rate, minTurns, test and alpha", {"spec.ladder.0.rate": 0.1}),
    _guardrail(_RUNG, "per: revision needs rate and minTurns", {"spec.ladder.1.rate": GONE}),
    _guardrail(_RUNG, "per: revision needs rate and minTurns", {"spec.ladder.1.minTurns": GONE}),
    _guardrail(_RUNG, "remove count and within", {"spec.ladder.1.count": 3}),
    _guardrail(_RUNG, _AXES, {"spec.ladder.1.action": "CoolDown"}),
    _guardrail(
        _RUNG,
        "PauseRollout, Rollback and Quarantine go with",
        {"spec.ladder.0.action": "Rollback", "spec.ladder.0.to": GONE},
    ),
    _guardrail(_RUNG, "write to (a served name)", {"spec.ladder.0.to": GONE}),
    _guardrail(_RUNG, "write to (a served name)", {"spec.ladder.1.to": "x"}),
    _guardrail(_RUNG, "remove alpha, or write test: sequential", {"spec.ladder.1.test": "threshold"}),
]

_SUM = "weights of the variants that are not shadow must sum to 100"
_ONE_SHADOW = "write at most one variant of track shadow, with weight 0"
_SHADOW = "write shadow if and only if a variant has track shadow"
_TABLE = [
    Case("RoutingTable", ".spec.variants", _SUM, {"spec.variants.0.weight": 91}),
    Case("RoutingTable", ".spec.variants", _SUM, {"spec.variants.1.track": "shadow"}),
    Case(
        "RoutingTable",
        ".spec.variants",
        _ONE_SHADOW,
        {"spec.variants.0.weight": 100, "spec.variants.1.weight": 0, "spec.variants.1.track": "shadow"},
        name="two",
    ),
    Case("RoutingTable", ".spec.variants", _ONE_SHADOW, {"spec.variants.2.weight": 1}),
    Case("RoutingTable", ".spec.extraFields[*]", _NEVER, {"spec.extraFields": ["vllm_xargs"]}),
    Case("RoutingTable", ".spec", _SHADOW, {"spec.shadow": GONE}),
    Case("RoutingTable", ".spec", _SHADOW, {"spec.variants": []}, name="no-variants"),
    Case("RoutingTable", ".spec", _SHADOW, {"spec.variants": GONE}, name="variants-left-out"),
]

REFUSED = [*_DEPLOYMENT, *_MODEL, *_GUARDRAIL, *_TABLE]

# What looks alike and is right. Kind, changes, example.
ACCEPTED: list[tuple[str, Mapping[str, Any], str]] = [
    ("ModelDeployment", {"metadata.name": "a" * 48}, ""),
    ("ModelDeployment", {"metadata.name": "a"}, ""),
    ("ModelDeployment", {"spec.engine.image": GONE, "spec.engine.type": "sim"}, ""),
    ("ModelDeployment", {"spec.engine.type": GONE}, ""),
    ("ModelDeployment", {"spec.engine.args": ["--model-impl=auto", "--max-model-len", "--hostile", "x --port"]}, ""),
    ("ModelDeployment", {"spec.engine.env": [{"name": "EMPTY"}]}, ""),
    ("ModelDeployment", {"spec.accelerator": {"resource": "nvidia.com/mig-1g.10gb"}}, ""),
    ("ModelDeployment", {"spec.rollout.steps": _steps(100)}, ""),
    ("ModelDeployment", {"spec.rollout.steps": _steps(*range(1, 20), 100)}, ""),
    ("ModelDeployment", {"spec.rollout": {"strategy": "Immediate", "capacity": {"mode": "Recreate"}}}, ""),
    ("ModelDeployment", {"spec.rollout": {"strategy": "BlueGreen"}}, ""),
    ("ModelDeployment", {"spec.rollout": {"shadow": {"percent": 100, "samples": 1}}}, ""),
    ("ModelDeployment", {"spec.rollout.capacity": {"mode": "Borrow", "maxUnavailable": 3}}, ""),
    ("ModelDeployment", {"spec.rollout.capacity": {"maxUnavailable": 3}}, ""),
    ("ModelDeployment", {"spec.api.extraFields": ["guided_json", "priority_class"]}, ""),
    ("ModelDeployment", {"spec.pricing": {"inputPerMillion": "0", "outputPerMillion": "999999999.999999999"}}, ""),
    ("ModelDeployment", {"spec.probes.prompts.0.expect": {}}, ""),
    ("ModelDeployment", {"spec.probes.prompts.0.expect.jsonSchema": {"properties": {"a": {"items": {}}}}}, ""),
    ("Guardrail", {"spec.audience": "minors", "spec.rules.2.fictionAllowance": 0}, ""),
    ("Guardrail", {"spec.failurePolicy": "Open"}, ""),
    ("Guardrail", {"spec.engagement.switchTo": GONE, "spec.engagement.actions": GONE}, ""),
    ("Guardrail", {"spec.engagement.switchTo": GONE, "spec.engagement.actions": {"L1": ["Remind"]}}, ""),
    ("Guardrail", {"spec.failurePolicy": "Open", "spec.rules": [{"category": "pii", "actions": {"low": ["Log"]}}]}, ""),
    ("Guardrail", {"spec.engagement.locales.de-AT": {"notice": "x" * 1024}}, ""),
    ("Guardrail", {"spec.rules.1.failurePolicy": "Open"}, ""),
    ("Guardrail", {"spec.rules.0.thresholds": {"low": 0.1, "high": 0.2}}, ""),
    ("Guardrail", {"spec.selector.matchExpressions": [{"key": "a", "operator": "Exists"}]}, ""),
    ("Guardrail", {"spec.detectors": [{"name": "p", "type": "patterns", "configMapRef": {"name": "x"}}]}, ""),
    ("Guardrail", {"spec.detectors": [{"name": "f", "type": "fms", "url": "http://fms.a", "params": {"a": 1}}]}, ""),
    ("Guardrail", {"spec.ladder.0": {"per": "revision", "rate": 0.1, "minTurns": 9, "action": "Notify"}}, ""),
    ("Guardrail", {"spec.ladder.0": {"per": "player", "count": 1, "within": "1h", "action": "Notify"}}, ""),
    ("RoutingTable", {"spec.variants": [], "spec.shadow": GONE}, ""),
    ("RoutingTable", {"spec.variants": GONE, "spec.shadow": GONE}, ""),
    ("RoutingTable", {"spec.variants.2": GONE, "spec.shadow": GONE}, ""),
    ("RoutingTable", {"spec.variants.1": GONE, "spec.variants.0.weight": 100, "spec.shadow.percent": 100}, ""),
    ("RoutingTable", {"spec.shadow.text": GONE}, ""),
    ("RoutingTable", {"spec.salt": ""}, ""),
    ("RoutingTable", {"spec.extraFields": GONE, "spec.mediaHosts": GONE}, ""),
    ("RoutingTable", {"spec.mediaHosts": ["10.0.0.1:8443"]}, ""),
    ("RoutingTable", {"spec.pricing": GONE}, ""),
    ("RoutingTable", {"spec.pricing": {"inputPerMillion": "0", "outputPerMillion": "0"}}, ""),
]
