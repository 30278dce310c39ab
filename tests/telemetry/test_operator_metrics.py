"""The operator's metrics."""

from understudy.telemetry.operator import OperatorMetrics

# Labels with few values, whatever the cluster's size.
ALLOWED = {"kind", "result", "outcome", "reason", "resource", "check", "le"}


def test_two_processes_in_one_interpreter_do_not_share_metrics() -> None:
    one, two = OperatorMetrics(), OperatorMetrics()
    one.leader.set(1)
    assert one.registry.get_sample_value("understudy_leader") == 1
    assert two.registry.get_sample_value("understudy_leader") == 0


def test_no_label_names_an_object() -> None:
    metrics = OperatorMetrics()
    for collector in list(metrics.registry._collector_to_names):
        if collector is not metrics.deployments:
            assert set(getattr(collector, "_labelnames", ())) <= ALLOWED


def test_every_metric_is_ours_by_name_and_says_what_it_is() -> None:
    for family in OperatorMetrics().registry.collect():
        assert family.name.startswith(("understudy_", "process_"))
        assert family.documentation


def test_it_renders_the_text_format() -> None:
    metrics = OperatorMetrics()
    metrics.writes.labels("Deployment", "written").inc()
    assert b'understudy_writes_total{kind="Deployment",outcome="written"} 1.0' in metrics.render()


def test_the_first_crash_of_a_pass_is_an_increase() -> None:
    sample = OperatorMetrics().registry.get_sample_value
    for kind in ("ModelDeployment", "Model", "Guardrail"):
        assert sample("understudy_reconcile_seconds_count", {"kind": kind, "result": "crash"}) == 0
