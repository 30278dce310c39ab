"""The sum over workers: exact, monotone, and blind to who died."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.domain.state import DetectorState, Guarded, RevisionState
from understudy.gateway.policy.books import Books, Notice, dump_notice, parse_notice
from understudy.gateway.policy.cells import Cells, blank, twin
from understudy.gateway.policy.evidence import Counters
from understudy.gateway.policy.standing import Standing
from understudy.telemetry.beside import Beside

KEY = "default/story"
REVISIONS = ("r1", "r2")
BY_TABLE = {KEY: Standing("u1", 1, 1, variants=2, usable={"r1": 1, "r2": 1})}


@dataclass
class Worker:
    """A worker as its parent sees it: rows, and what it says. It lists `named` of its rows."""

    rows: list[Cells] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)
    ready: bool = True
    listed: bool = True
    standings: Mapping[str, Standing] = field(default_factory=lambda: BY_TABLE)
    answered: int = 0

    def counters(self, revision: str) -> Counters:
        if revision not in self.named:
            self.rows.append(blank())
            self.named[revision] = len(self.rows) - 1
        return twin(self.rows[self.named[revision]])

    guards: dict[str, str] = field(default_factory=dict)
    detectors: dict[str, DetectorState] = field(default_factory=dict)

    def notice(self) -> Notice:
        gauges = {
            "understudy_answered_total": ("Answered", {"": float(self.answered)}),
            "understudy_connections": ("Connected", {"": 2.0}),
        }
        said = Notice(self.ready, self.listed, self.standings, {KEY: self.named}, gauges, self.guards, self.detectors)
        return parse_notice(dump_notice(said))


class Pod:
    """Books and the workers that they are of."""

    def __init__(self, count: int) -> None:
        self.books = Books(count)
        self.workers: list[Worker | None] = [None] * count

    def start(self, index: int) -> Worker:
        worker = self.workers[index] = Worker()
        return worker

    def hear(self) -> None:
        for index, worker in enumerate(self.workers):
            if worker is not None:
                self.books.hear(index, worker.notice())

    def die(self, index: int) -> bool:
        worker, self.workers[index] = self.workers[index], None
        return self.books.died(index, lambda row: self._row(worker, row))

    def revisions(self) -> Mapping[str, RevisionState]:
        self.hear()
        states = self.books.deployments(lambda index, row: self._row(self.workers[index], row), only_active=False)
        return states[KEY].revisions if KEY in states else {}

    def beside(self) -> Mapping[str, Beside]:
        return self.books.beside(lambda index, row: self._row(self.workers[index], row))

    def _row(self, worker: Worker | None, row: int) -> Cells:
        assert worker is not None
        return memoryview(bytes(worker.rows[row])).cast("q")


def started(count: int) -> Pod:
    pod = Pod(count)
    for index in range(count):
        pod.start(index)
    pod.hear()
    return pod


def worker_of(pod: Pod, index: int) -> Worker:
    worker = pod.workers[index]
    assert worker is not None
    return worker


WORKERS = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("count"), WORKERS, st.sampled_from(REVISIONS)),
    st.tuples(st.just("open"), WORKERS, st.sampled_from(REVISIONS)),
    st.tuples(st.just("close"), WORKERS, st.sampled_from(REVISIONS)),
    st.tuples(st.just("forget"), WORKERS, st.sampled_from(REVISIONS)),
    st.tuples(st.sampled_from(("die", "start", "read")), WORKERS, st.just("")),
)


@settings(max_examples=50)
@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_to_workers_the_sum_is_what_was_counted(steps: list[tuple[str, int, str]]) -> None:
    pod = started(3)
    counted = dict.fromkeys(REVISIONS, 0)
    before = dict.fromkeys(REVISIONS, 0)
    for step, index, revision in [*steps, ("read", 0, "")]:
        worker = pod.workers[index]
        if step == "start" and worker is None:
            pod.start(index)
        elif step == "read":
            told = pod.revisions()
            named = [w.named for w in pod.workers if w is not None]
            for each in REVISIONS:
                if len(named) == 3 and not any(each in names for names in named):
                    # Nobody has it: it is forgotten, as by one process.
                    counted[each] = before[each] = 0
                    continue
                state = told.get(each, RevisionState())
                opened = sum(w.counters(each).open for w in pod.workers if w is not None and each in w.named)
                assert (state.attempts, state.failed, state.open_requests) == (counted[each], counted[each], opened)
                assert state.attempts >= before[each]
                before[each] = state.attempts
        elif worker is not None and step == "die":
            pod.hear()
            pod.die(index)
        elif worker is not None and revision:
            counters = worker.counters(revision)
            if step == "count":
                counters.failed("5xx")
                counted[revision] += 1
            elif step == "open":
                counters.open += 1
            elif counters.open:
                counters.open -= step == "close"
            elif step == "forget":
                pod.hear()
                del worker.named[revision]


def test_a_row_that_a_worker_has_let_go_counts_until_no_worker_has_the_revision() -> None:
    pod = started(2)
    for index in (0, 1):
        worker_of(pod, index).counters("r1").answered()
    assert pod.revisions()["r1"].attempts == 2
    del worker_of(pod, 0).named["r1"]
    assert pod.revisions()["r1"].attempts == 2
    # It comes back there in another row: nothing is counted twice.
    worker_of(pod, 0).counters("r1").answered()
    assert pod.revisions()["r1"].attempts == 3
    for index in (0, 1):
        del worker_of(pod, index).named["r1"]
    assert pod.revisions() == {}
    worker_of(pod, 0).counters("r1").answered()
    assert pod.revisions()["r1"].attempts == 1


def test_nothing_is_forgotten_because_of_workers_that_do_not_know_all_yet() -> None:
    pod = started(2)
    worker_of(pod, 0).counters("r1").answered()
    pod.hear()
    for index in (0, 1):
        pod.die(index)
        pod.start(index).listed = False
    assert pod.revisions()["r1"].attempts == 1
    for index in (0, 1):
        worker_of(pod, index).listed = True
        worker_of(pod, index).counters("r1")
    assert pod.revisions()["r1"].attempts == 1


def test_a_pod_is_ready_when_all_have_been_and_stays_so_while_one_is() -> None:
    pod = Pod(2)
    seen = [pod.books.ready]
    for change in (
        lambda: pod.start(0),
        lambda: pod.start(1),
        lambda: pod.die(0),
        lambda: pod.die(1),
        lambda: setattr(pod.start(0), "ready", False),
        lambda: setattr(worker_of(pod, 0), "ready", True),
    ):
        change()
        pod.hear()
        seen.append(pod.books.ready)
    assert seen == [False, False, True, True, False, False, True]


def test_who_died_without_a_word_is_told_from_who_served() -> None:
    pod = Pod(1)
    pod.start(0)
    assert not pod.die(0)
    pod.start(0)
    pod.hear()
    assert pod.die(0)


def test_a_deployment_that_somebody_may_still_serve_is_not_said_to_be_unknown() -> None:
    pod = started(2)
    for index in (0, 1):
        worker_of(pod, index).counters("r1")
    pod.hear()
    for index in (0, 1):
        worker_of(pod, index).standings = {}
    assert pod.revisions() == {}
    pod.die(1)
    # The one that comes next may begin with a table from a file.
    (state,) = pod.books.deployments(lambda _index, _row: blank(), only_active=True).values()
    assert (state.table_uid, state.table_generation) == ("", 1)


def test_counters_of_a_dead_process_stay_in_the_metrics_and_its_gauges_go() -> None:
    pod = started(2)
    worker_of(pod, 0).answered = 3
    worker_of(pod, 1).answered = 4
    pod.hear()
    pod.die(0)
    pod.start(0).answered = 1
    pod.hear()
    gauges = pod.books.gauges()
    assert gauges["understudy_answered_total"] == ("Answered", {"": 8.0})
    assert gauges["understudy_connections"] == ("Connected", {"": 4.0})


def test_some_deployments_may_be_asked_for_alone() -> None:
    pod = started(1)
    worker = worker_of(pod, 0)
    worker.counters("r1").answered()
    worker.standings = {KEY: Standing("u1", 1, variants=1), "default/other": Standing("u2", 1, variants=1)}
    pod.hear()
    row = memoryview(bytes(worker.rows[0])).cast("q")
    told = [pod.books.deployments(lambda _index, _row: row, names=n) for n in ({KEY}, {"default/other"}, {"x"})]
    assert [list(states) for states in told] == [[KEY], ["default/other"], []]
    assert told[0][KEY].revisions["r1"].attempts == 1
    pod.die(0)
    pod.start(0).counters("r1")
    pod.hear()
    told = [pod.books.deployments(lambda _index, _row: blank(), names=n) for n in ({KEY}, {"x"})]
    assert [list(states) for states in told] == [[KEY], []]
    assert told[0][KEY].revisions["r1"].attempts == 1


def test_what_metrics_show_beside_the_state_is_summed_and_outlives_a_worker() -> None:
    pod = started(2)
    for index in (0, 1):
        counters = worker_of(pod, index).counters("r1")
        counters.first_token(0.25)
        counters.ejections += 1
        worker_of(pod, index).standings = {
            KEY: Standing("u1", 1, usable={"r1": 1}, taken=7.0, breakers={"r1": {"closed": 1 - index}})
        }
    pod.hear()
    pod.die(1)
    (shown,) = pod.beside().values()
    assert shown.table_taken == 7.0
    assert (shown.revisions["r1"].ttft_sum, shown.revisions["r1"].ejections) == (0.5, 2)
    assert shown.revisions["r1"].breakers == {"closed": 1}


def test_a_policy_is_loaded_once_all_workers_say_so_and_else_one_of_them_says_why_not() -> None:
    pod = started(2)
    for index, said in enumerate(({"p": "loaded", "q": "loaded"}, {"p": "loaded", "q": "too odd"})):
        worker_of(pod, index).guards = said
    pod.hear()
    assert pod.books.guards() == {"p": "loaded", "q": "too odd"}
    pod.die(1)
    assert pod.books.guards()["p"] == "a worker has not loaded it yet"


def test_a_detector_is_unwell_if_one_worker_says_so_and_well_once_all_do() -> None:
    pod = started(2)
    first, second = worker_of(pod, 0), worker_of(pod, 1)
    first.detectors = {"a": DetectorState("", 3.0), "b": DetectorState("slow", 9.0), "c": DetectorState("", 1.0)}
    pod.hear()
    assert pod.books.detectors() == {"b": DetectorState("slow", 9.0)}
    second.detectors = {"a": DetectorState("", 5.0), "b": DetectorState("away", 4.0), "c": DetectorState("odd", 8.0)}
    pod.hear()
    assert pod.books.detectors() == {
        "a": DetectorState("", 5.0),
        "b": DetectorState("away", 4.0),
        "c": DetectorState("odd", 8.0),
    }
    pod.die(1)
    assert pod.books.detectors() == {"b": DetectorState("slow", 9.0)}


def test_findings_of_workers_that_count_them_in_other_places_are_summed_by_name_and_outlive_them() -> None:
    pod = started(2)
    for index, guarded in enumerate((("calm/rude", "calm/pii"), ("calm/pii", "calm/rude"))):
        worker = worker_of(pod, index)
        worker.counters("r1").guard.turn([(0, 2), (1, 6)], acted=index == 0)
        worker.standings = {KEY: Standing("u1", 1, 1, variants=1, usable={"r1": 1}, guarded=guarded)}
    pod.hear()
    both = {"calm/rude/2": 1, "calm/pii/6": 1, "calm/pii/2": 1, "calm/rude/6": 1}
    assert pod.revisions()["r1"].guard == Guarded(2, both, 1)
    pod.die(1)
    assert pod.revisions()["r1"].guard == Guarded(2, both, 1)
