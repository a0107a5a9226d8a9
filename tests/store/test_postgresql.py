"""The same store on PostgreSQL. Give an empty database to try it:

MENDEL_TEST_POSTGRES=postgresql://user@host/empty_database pytest tests/store/test_postgresql.py
"""

import math
import os
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from mendel.records import Shard
from mendel.store import IdeaState, RunState, Store, StoreError
from mendel.store.tables import Base

from .samples import RECIPE, a_result, a_run, an_idea
from .test_store import a_finding, a_plan, a_verdict, an_interval

URL = os.environ.get("MENDEL_TEST_POSTGRES")
pytestmark = pytest.mark.skipif(URL is None, reason="MENDEL_TEST_POSTGRES names no database")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path, URL) as opened:
        yield opened


def test_the_schema_is_that_of_the_tables(store):
    with store.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_every_record_comes_back_from_another_connection(store, campaign):
    verdict = a_verdict(log2_cm=an_interval(high=math.inf))
    store.put_recipe(RECIPE, "gpt2")
    store.add_ideas(campaign, [an_idea("b"), an_idea("a")])
    store.set_idea_state(campaign, "a", IdeaState.CLAIMED, "e-value 31")
    store.add_blanks(campaign, {"b": "harm"})
    store.put_plan(campaign, a_plan())
    store.put_verdict(campaign, verdict)
    store.put_finding(campaign, a_finding())
    store.put_cost(campaign, "r", 0, 1e6, a_result(), idea="a")
    store.decide(campaign, "k", [1, "é"])
    store.event(campaign, "screen", "hello")
    with Store(store.root, URL) as later:
        assert later.campaign(campaign) == store.campaign()
        assert later.recipe(RECIPE.id) == RECIPE
        assert [(entry.idea.name, entry.state) for entry in later.ideas(campaign)] == [
            ("b", IdeaState.QUEUED),
            ("a", IdeaState.CLAIMED),
        ]
        assert later.unblind(campaign, "b") == store.blanks(campaign)[0]
        assert later.plans(campaign) == [a_plan()] and later.verdicts(campaign) == [verdict]
        assert later.findings(campaign) == [a_finding()] and later.decision(campaign, "k") == [1, "é"]
        assert later.cost(campaign, "r", 0).flops_per_token == 1e6
        assert [event.message for event in later.events(campaign)] == ["hello"]


def test_runs_are_done_once(store, campaign):
    specs = [a_run(seed, Shard.HELD_OUT) for seed in range(1000)]
    assert store.enqueue(campaign, specs, "confirm") == [spec.id for spec in specs]
    assert store.enqueue(campaign, specs, "confirm") == []
    store.claim(campaign, specs[0].id)
    store.claim(campaign, specs[1].id)
    store.open_held_out(campaign, specs[0].id)
    store.finish(campaign, specs[0].id, a_result())
    with pytest.raises(StoreError, match="it is finished"):
        store.finish(campaign, specs[0].id, a_result(9.0))
    assert store.requeue_running(campaign) == [specs[1].id]
    assert [run.attempts for run in store.runs(campaign, RunState.QUEUED)][:2] == [1, 0]
    assert store.results(campaign, [spec.id for spec in specs]) == {specs[0].id: a_result()}
    assert store.ledger(campaign)[0].tokens == 1000


def test_a_run_is_claimed_by_one_of_many(store, campaign):
    store.enqueue(campaign, [a_run()], "screen")
    claimed, refused = [], []

    def claim():
        try:
            claimed.append(store.claim(campaign, a_run().id))
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1 and len(refused) == 3


def test_a_rolled_back_transaction_leaves_nothing(store, campaign):
    with pytest.raises(RuntimeError), store.transaction():
        store.decide(campaign, "k", 1)
        raise RuntimeError
    assert store.decision(campaign, "k") is None


def test_a_server_that_does_not_answer_is_named_without_the_password(tmp_path):
    with pytest.raises(StoreError, match=r"postgres:\*\*\*@127.0.0.1:1/lab: "):
        Store(tmp_path, "postgresql://postgres:secret@127.0.0.1:1/lab")
