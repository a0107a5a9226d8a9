"""With a budget in runs, decisions depend on results and on nothing else.

That real processes come to the same numbers is seen in test_kill.py and test_cli_stops.py.
"""

import shutil

import pytest
import toy

IDEAS = [
    *(*toy.GOOD, *toy.NULL, *toy.HARMFUL),
    toy.idea("faint", {"gain_c": 1.05}),
    toy.idea("diverging-late", {"fail": "late_nan"}),
    toy.idea("crashing", {"fail": "crash"}),
    toy.idea("rival", {"gain_a": 1.4}, slot="a"),
]


@pytest.fixture(scope="module")
def ideas(fast_disk):
    return toy.write_ideas(fast_disk / "repeatable.toml", IDEAS)


@pytest.fixture(scope="module")
def reference(ideas, toy_data, fast_disk):
    store, campaign, _ = toy.run_fake(toy.config(ideas, toy_data), fast_disk / "reference")
    with store:
        yield outcome(store, campaign.id)


def outcome(store, campaign):
    return (
        toy.verdict_records(store, campaign),
        toy.finding_records(store, campaign),
        toy.states(store, campaign),
    )


@pytest.mark.parametrize(("workers", "order"), [(1, None), (2, 1), (3, 2), (7, 3)])
def test_the_order_of_finishing_and_the_workers_change_nothing(
    ideas, toy_data, lab_root, reference, workers, order
):
    settings = toy.config(ideas, toy_data, workers=workers)
    store, campaign, _ = toy.run_fake(settings, lab_root, workers, order)
    with store:
        assert outcome(store, campaign.id) == reference


def test_the_place_of_the_text_changes_nothing(ideas, toy_data, lab_root, reference):
    data = shutil.copytree(toy_data, lab_root / "elsewhere")
    store, campaign, _ = toy.run_fake(toy.config(ideas, data), lab_root / "lab")
    with store:
        assert outcome(store, campaign.id) == reference
        assert reference[0], "the test compares nothing"


def test_another_campaign_seed_is_another_experiment(ideas, toy_data, lab_root, reference):
    store, campaign, _ = toy.run_fake(toy.config(ideas, toy_data, seed=2), lab_root)
    with store:
        verdicts, _, states = outcome(store, campaign.id)
    numbers = {verdict["difference"]["value"] for verdict in verdicts}
    assert not numbers & {verdict["difference"]["value"] for verdict in reference[0]}
    adopted = {name for name, (state, _) in states.items() if state == "adopted"}
    assert {"good-source"} < adopted <= {"good-source", "good-knob", "rival", "faint"}


def test_a_finished_campaign_is_not_run_again_but_a_fresh_one_is(ideas, toy_data, lab_root):
    settings = toy.config(ideas, toy_data, max_usd=8e-4, usd_per_hour=1.0)  # three seconds of work end it
    store, first = toy.run_local(settings, lab_root)
    runs = len(store.runs(first.id))
    store.close()
    store, again = toy.run_local(settings, lab_root)
    assert (again.id, len(store.runs(again.id))) == (first.id, runs)
    store.close()
    store, fresh = toy.run_local(settings, lab_root, fresh=True)
    with store:
        assert fresh.id != first.id
        assert len(store.runs(fresh.id)) > 0 and runs == len(store.runs(first.id))
