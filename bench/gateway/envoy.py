"""Envoy's configuration: every native filter that does a part of our gateway's work, none that calls out."""

from collections.abc import Sequence
from typing import Any

_TYPES = "type.googleapis.com/envoy.extensions."


def _typed(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _TYPES + kind, **fields}}


def _percent(value: int) -> dict[str, Any]:
    return {"default_value": {"numerator": value, "denominator": "HUNDRED"}}


def _filters(key: str) -> list[dict[str, Any]]:
    model = {"metadata_namespace": "llm", "key": "model", "preserve_existing_metadata_value": False}
    tokens = {"metadata_namespace": "llm", "key": "tokens", "type": "NUMBER"}
    parser = _typed(
        "envoy.content_parsers.json",
        "content_parsers.json.v3.JsonContentParser",
        rules=[{"rule": {"selectors": [{"key": "usage"}, {"key": "total_tokens"}], "on_present": tokens}}],
    )
    return [
        _typed(
            "envoy.filters.http.api_key_auth",
            "filters.http.api_key_auth.v3.ApiKeyAuth",
            credentials=[{"key": key, "client": "bench"}],
            key_sources=[{"header": "Authorization"}],
        ),
        _typed(
            "envoy.filters.http.local_ratelimit",
            "filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix="rate",
            token_bucket={"max_tokens": 10_000_000, "tokens_per_fill": 10_000_000, "fill_interval": "1s"},
            filter_enabled=_percent(100),
            filter_enforced=_percent(100),
        ),
        _typed(
            "envoy.filters.http.json_to_metadata",
            "filters.http.json_to_metadata.v3.JsonToMetadata",
            request_rules={
                "rules": [
                    {
                        "selectors": [{"key": "model"}],
                        "on_present": model,
                        "on_missing": {**model, "value": "unknown"},
                        "on_error": {**model, "value": "error"},
                    }
                ],
                "allow_content_types": ["application/json"],
            },
        ),
        _typed(
            "envoy.filters.http.sse_to_metadata",
            "filters.http.sse_to_metadata.v3.SseToMetadata",
            response_rules={"content_parser": parser},
        ),
        _typed("envoy.filters.http.router", "filters.http.router.v3.Router"),
    ]


def _cluster(name: str, ports: Sequence[int]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}} for port in ports
    ]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "outlier_detection": {"consecutive_5xx": 5},
        "circuit_breakers": {
            "thresholds": [{"max_connections": 8192, "max_requests": 8192, "max_pending_requests": 8192}]
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def envoy_config(*, port: int, stable: Sequence[int], candidate: Sequence[int], model: str, key: str) -> dict[str, Any]:
    """A bootstrap: listener on `port`, 90 % to `stable`, 10 % to `candidate`, 404 for another model."""
    named = {"filter": "llm", "path": [{"key": "model"}], "value": {"string_match": {"exact": model}}}
    route = {
        "match": {"prefix": "/v1/", "dynamic_metadata": [named]},
        "route": {
            "weighted_clusters": {"clusters": [{"name": "stable", "weight": 90}, {"name": "candidate", "weight": 10}]},
            "timeout": "0s",
            "retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": 1},
        },
    }
    log = {
        "request": "%REQ(X-REQUEST-ID)%",
        "status": "%RESPONSE_CODE%",
        "model": "%DYNAMIC_METADATA(llm:model)%",
        "tokens": "%DYNAMIC_METADATA(llm:tokens)%",
        "milliseconds": "%DURATION%",
    }
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        access_log=[
            _typed(
                "envoy.access_loggers.file",
                "access_loggers.file.v3.FileAccessLog",
                path="/dev/null",
                log_format={"json_format": log},
            )
        ],
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [route, {"match": {"prefix": "/"}, "direct_response": {"status": 404}}],
                }
            ]
        },
        http_filters=_filters(key),
    )
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [manager]}],
                }
            ],
            "clusters": [_cluster("stable", stable), _cluster("candidate", candidate)],
        }
    }
