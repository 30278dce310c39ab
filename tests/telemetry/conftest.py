"""What is looked at from several sides: the metrics of running processes, and promtool.

promtool is got when it is not there: a rule that was not evaluated by Prometheus' own code was not tested.
"""

import asyncio
from pathlib import Path

import pytest

from local import registry, tools
from tests.telemetry.exposed import gateway_metrics, operator_metrics, records_metrics


@pytest.fixture(scope="session")
def of_gateway(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a gateway's /metrics answers."""
    return asyncio.run(gateway_metrics(tmp_path_factory.mktemp("gateway")))


@pytest.fixture(scope="session")
def of_operator() -> str:
    """What an operator's /metrics answers."""
    return operator_metrics()


@pytest.fixture(scope="session")
def of_records() -> str:
    """What the records' /metrics answers."""
    return records_metrics()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The binary."""
    path = tools.path("promtool")
    if not path.exists():
        tools.ensure_promtool(registry.choose())
    return path
