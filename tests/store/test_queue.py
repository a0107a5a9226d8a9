"""The run queue: a run is trained once, whatever is asked in whatever order."""

import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event

from mendel.records import RunResult, RunStatus, Shard
from mendel.store import RunState, Store, StoreError

from .samples import a_result, a_run, start


def train(store, campaign, spec, result):
    store.claim(campaign, spec.id)
    store.finish(campaign, spec.id, result)


def test_a_run_is_queued_once_and_belongs_to_who_asked_first(store, campaign):
    assert store.enqueue(campaign, [a_run(2), a_run(1), a_run(2)], "screen") == [a_run(2).id, a_run(1).id]
    assert store.enqueue(campaign, [a_run(1), a_run(3)], "confirm", "rmsnorm") == [a_run(3).id]
    runs = store.runs(campaign)
    assert [run.spec.seed for run in runs] == [2, 1, 3]
    assert [(run.stage, run.idea) for run in runs] == [("screen", None)] * 2 + [("confirm", "rmsnorm")]


def test_a_run_goes_from_queued_to_running_to_finished(store, campaign):
    store.enqueue(campaign, [a_run()], "screen")
    assert store.claim(campaign, a_run().id) == a_run()
    running = store.run(campaign, a_run().id)
    assert (running.state, running.result) == (RunState.RUNNING, None)
    failed = RunResult(status=RunStatus.DIVERGED, reason="loss is not finite")
    store.finish(campaign, a_run().id, failed)
    finished = store.run(campaign, a_run().id)
    assert (finished.state, finished.result) == (RunState.FINISHED, failed)
    assert finished.created <= finished.started <= finished.finished


def test_a_finished_run_is_neither_overwritten_nor_run_again(store, campaign):
    store.enqueue(campaign, [a_run()], "screen")
    train(store, campaign, a_run(), a_result(2.5))
    with pytest.raises(StoreError, match="it is finished, only a running run can become finished"):
        store.finish(campaign, a_run().id, a_result(9.9))
    with pytest.raises(StoreError, match="it is finished, only a queued run can become running"):
        store.claim(campaign, a_run().id)
    assert store.requeue_running(campaign) == store.enqueue(campaign, [a_run()], "screen") == []
    assert store.result(campaign, a_run().id) == a_result(2.5)


def test_a_run_that_nobody_queued_is_an_error(store, campaign):
    for call in (store.claim, store.run):
        with pytest.raises(StoreError, match="'unheard'.*no run of this id"):
            call(campaign, "unheard")
    assert store.result(campaign, "unheard") is None


def test_what_a_dead_process_left_running_is_queued_again(store, campaign):
    store.enqueue(campaign, [a_run(seed) for seed in range(3)], "screen")
    train(store, campaign, a_run(0), a_result())
    store.claim(campaign, a_run(2).id)
    store.close()
    with Store(store.root) as later:
        assert later.requeue_running(campaign) == [a_run(2).id]
        assert [run.attempts for run in later.runs(campaign)] == [0, 0, 1]
        assert [run.spec.seed for run in later.runs(campaign, state=RunState.QUEUED)] == [1, 2]


def test_a_pair_that_the_lab_spoiled_is_run_again_as_if_new(store, campaign):
    store.enqueue(campaign, [a_run(0), a_run(1)], "screen")
    train(store, campaign, a_run(0), RunResult(status=RunStatus.CRASHED, reason="the machine went down"))
    store.retry(campaign, [a_run(0).id])
    again = store.run(campaign, a_run(0).id)
    assert (again.state, again.result, again.attempts) == (RunState.QUEUED, None, 1)
    assert (again.started, again.finished) == (None, None)
    with pytest.raises(StoreError, match="it is queued, only a finished run can become queued"):
        store.retry(campaign, [a_run(1).id])
    train(store, campaign, a_run(0), a_result())
    assert store.result(campaign, a_run(0).id) == a_result()


def test_results_come_in_the_order_they_are_asked_for(store, campaign):
    store.enqueue(campaign, [a_run(seed) for seed in range(4)], "screen")
    for seed in (2, 0, 1):
        train(store, campaign, a_run(seed), a_result(float(seed + 1)))
    asked = [a_run(seed).id for seed in (1, 3, 0, 2)]
    assert [result.bits_per_byte for result in store.results(campaign, asked).values()] == [2.0, 1.0, 3.0]


def test_only_a_run_planned_on_the_held_out_shard_may_open_it(store, campaign):
    secret = a_run(shard=Shard.HELD_OUT)
    store.enqueue(campaign, [a_run(), secret], "confirm")
    with pytest.raises(StoreError, match="planned on the validation shard"):
        store.open_held_out(campaign, a_run().id)
    for _ in range(2):
        store.open_held_out(campaign, secret.id)
    assert [opening.run for opening in store.held_out_openings(campaign)] == [secret.id] * 2


def test_the_ledger_adds_up_by_idea_and_stage(store, campaign):
    store.put_cost(campaign, "r", 0, 1e6, a_result(tokens=64, train_seconds=1.0), idea="rmsnorm")
    store.enqueue(campaign, [a_run(0), a_run(1)], "screen", "rmsnorm")
    store.enqueue(campaign, [a_run(2), a_run(3)], "screen")
    for seed in range(3):
        train(store, campaign, a_run(seed), a_result())
    rows = store.ledger(campaign, usd_per_hour=3600.0)
    assert [(row.idea, row.stage, row.runs, row.tokens) for row in rows] == [
        ("rmsnorm", "smoke", 1, 64),
        ("rmsnorm", "screen", 2, 2000),
        (None, "screen", 1, 1000),
    ]
    assert (rows[1].train_seconds, rows[1].cpu_seconds, rows[1].score_seconds) == (6.0, 5.8, 1.0)
    assert rows[1].dollars == pytest.approx(7.0)


def statements(store, call) -> int:
    """How many statements the database gets."""
    said = []
    listener = lambda connection, cursor, statement, *rest: said.append(statement)  # noqa: E731
    event.listen(store._engine, "before_cursor_execute", listener)
    try:
        call()
    finally:
        event.remove(store._engine, "before_cursor_execute", listener)
    return len(said)


def test_thousands_of_runs_are_no_wait(store, campaign):
    """In processor time, and far less is enough: a machine that is busy otherwise is not what is tested."""
    specs = [a_run(seed) for seed in range(10_000)]
    runs = [spec.id for spec in specs]
    began = time.process_time()
    assert statements(store, lambda: store.enqueue(campaign, specs[:1000], "screen")) < 20
    store.enqueue(campaign, specs, "screen")
    with store.transaction() as connection:
        text = a_result().model_dump_json()
        connection.exec_driver_sql("UPDATE runs SET state='finished', result=?", (text,))
    assert statements(store, lambda: store.results(campaign, runs)) < 200
    assert len(store.results(campaign, runs)) == 10_000
    assert time.process_time() - began < 20


SEEDS = st.integers(0, 4)


class AnyOrder(RuleBasedStateMachine):
    """Calls in any order, restarts included, against a model that is a dictionary."""

    @initialize()
    def begin(self):
        self.root = Path(tempfile.mkdtemp())
        self.store = Store(self.root)
        self.campaign = start(self.store)
        self.state: dict[int, RunState] = {}
        self.results: dict[int, float] = {}
        self.lost: dict[int, int] = {}

    @rule(seeds=st.lists(SEEDS))
    def enqueue(self, seeds):
        new = dict.fromkeys(seed for seed in seeds if seed not in self.state)
        specs = [a_run(seed) for seed in seeds]
        assert self.store.enqueue(self.campaign, specs, "screen") == [a_run(seed).id for seed in new]
        self.state |= dict.fromkeys(new, RunState.QUEUED)

    @rule(seed=SEEDS)
    def claim(self, seed):
        if self.state.get(seed) is RunState.QUEUED:
            self.store.claim(self.campaign, a_run(seed).id)
            self.state[seed] = RunState.RUNNING
        else:
            with pytest.raises(StoreError):
                self.store.claim(self.campaign, a_run(seed).id)

    @rule(seed=SEEDS, loss=st.floats(0.5, 8))
    def finish(self, seed, loss):
        if self.state.get(seed) is RunState.RUNNING:
            self.store.finish(self.campaign, a_run(seed).id, a_result(loss))
            self.state[seed], self.results[seed] = RunState.FINISHED, loss
        else:
            with pytest.raises(StoreError):
                self.store.finish(self.campaign, a_run(seed).id, a_result(loss))

    @rule()
    def restart(self):
        self.store.close()
        self.store = Store(self.root)
        running = [seed for seed, state in self.state.items() if state is RunState.RUNNING]
        assert self.store.requeue_running(self.campaign) == [a_run(seed).id for seed in running]
        for seed in running:
            self.state[seed], self.lost[seed] = RunState.QUEUED, self.lost.get(seed, 0) + 1

    @invariant()
    def the_store_agrees(self):
        runs = {run.spec.seed: run for run in self.store.runs(self.campaign)}
        assert {seed: run.state for seed, run in runs.items()} == self.state
        assert {seed: run.attempts for seed, run in runs.items() if run.attempts} == self.lost
        stored = {seed: run.result.bits_per_byte for seed, run in runs.items() if run.result}
        assert stored == self.results

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.root)


AnyOrder.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestAnyOrder = AnyOrder.TestCase
