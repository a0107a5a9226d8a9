"""Screening runs that are stopped early: which, what is believed of them, and the account."""

import re
from io import StringIO

import pytest
import toy
from rich.console import Console
from toy import idea

from mendel.campaign.summary import summarise, trunk_points
from mendel.records import PlanKind, RunStatus
from mendel.report import write_report
from mendel.report.lookup import describe, render
from mendel.store import CampaignState, RunState
from mendel.terminal import show_summary


def harmful(number, idea_class="optimiser"):
    """Loses a third to a half of its compute: far behind at every check."""
    return idea(f"harmful-{number}", {"gain_b": 0.5 + 0.02 * number}, idea_class=idea_class, mean=0.1)


IDEAS = [*(harmful(number) for number in range(8)), *toy.NULL, *toy.GOOD]
POLICY = {"screen_ideas": 4, "more_screen_pairs": 0}


def stopped_runs(store, campaign):
    runs = store.runs(campaign, RunState.FINISHED)
    return [run for run in runs if run.result.status is RunStatus.STOPPED]


@pytest.fixture
def seen(campaign):
    store, found = campaign(IDEAS, policy=POLICY)
    return store, found


def test_what_falls_behind_is_stopped_once_its_class_has_shown_how_runs_end(seen):
    store, found = seen
    stopped = stopped_runs(store, found)
    assert stopped
    assert all(run.idea.startswith("harmful") and run.stage == PlanKind.SCREEN for run in stopped)
    rounds = {plan.idea: plan.round for plan in store.plans(found, PlanKind.SCREEN)}
    assert min(rounds[run.idea] for run in stopped) >= 1  # nothing was known in the first
    state, note = toy.states(store, found)[stopped[0].idea]
    assert state == "screened"
    assert note.startswith("screened and stopped early: at 33% of the run it was expected to end at ")


def test_what_is_believed_of_a_stopped_run_is_near_what_it_would_have_shown(campaign, seen):
    store, found = seen
    whole, same = campaign(IDEAS, policy={**POLICY, "early_stop": 0.0}, seed=1)
    assert not stopped_runs(whole, same)
    ends = {run.id: run.result.bits_per_byte for run in whole.runs(same, RunState.FINISHED)}
    both = [
        (run.result.stopped.expected, ends[run.id]) for run in stopped_runs(store, found) if run.id in ends
    ]
    assert both
    for expected, end in both:
        assert expected == pytest.approx(end, abs=0.05)  # of the 0.4 that they lie behind


def test_confirmation_runs_are_never_stopped(seen):
    store, found = seen
    assert {run.stage for run in stopped_runs(store, found)} == {PlanKind.SCREEN}
    assert [row["id"] for row in summarise(store, store.campaign(found))["adopted"]]


def test_the_account_tells_saving_and_regret_by_class(seen):
    store, found = seen
    account = summarise(store, store.campaign(found))["early_stops"]
    stopped = stopped_runs(store, found)
    (by_class,) = account["classes"]
    row = account["campaign"]
    assert by_class == {"class": "optimiser", "campaign": row, "pooled": row}
    assert account["pooled"] == {"campaigns": 1, **row}
    assert row["stopped"] == len(stopped)
    assert row["saved"] == pytest.approx(sum(1 - run.result.stopped.at for run in stopped))
    screened = [run for run in store.runs(found, RunState.FINISHED) if run.stage == "screen" and run.idea]
    assert row["runs"] == len(screened)


def test_what_a_stopped_run_was_expected_to_lose_is_marked_as_no_measurement(seen):
    store, found = seen
    stopped = {run.id: run.result.stopped.expected for run in stopped_runs(store, found)}
    name = stopped_runs(store, found)[0].idea
    shown = describe(store, store.campaign(found), name)
    (plan,) = shown["plans"]
    marked = {pair["treatment"]: pair["treatment_loss"] for pair in plan["pairs"] if pair["expected"]}
    assert marked == {run: loss for run, loss in stopped.items() if run in marked} and marked
    text = StringIO()
    render(Console(file=text, width=200), shown)
    for run, loss in marked.items():
        (line,) = [line for line in text.getvalue().splitlines() if line.rstrip().endswith(run)]
        assert f"expected {loss:.4f}" in line and line.count("expected") == 2, "loss and difference"

    whole = describe(store, store.campaign(found), "null-one")
    assert not any(pair["expected"] for plan in whole["plans"] for pair in plan["pairs"])
    text = StringIO()
    render(Console(file=text, width=200), whole)
    assert "expected" not in text.getvalue()


def test_what_earlier_campaigns_stopped_is_told_beside_what_this_one_did(seen, campaign):
    store, first = seen
    alone = summarise(store, store.campaign(first))
    store.set_state(first, CampaignState.FINISHED)
    store, second = campaign([*IDEAS, harmful(9, "attention")], policy=POLICY, seed=2)
    both = summarise(store, store.campaign(second))
    account = both["early_stops"]
    stopped, own = stopped_runs(store, second), account["campaign"]
    assert own["stopped"] == len(stopped) > 0
    for key in ("runs", "stopped", "saved", "spared"):
        assert account["pooled"][key] == pytest.approx(own[key] + alone["early_stops"]["campaign"][key])
    by_class = {row["class"]: row for row in account["classes"]}
    assert by_class["attention"]["campaign"] == by_class["attention"]["pooled"]
    assert sum(row["campaign"]["runs"] for row in account["classes"]) == own["runs"]

    shown = Console(file=StringIO(), width=400)
    show_summary(shown, alone)
    show_summary(shown, both)
    lines = [line for line in shown.file.getvalue().splitlines() if line.startswith("Stopped early")]
    assert "earlier" not in lines[0]
    assert f"in this campaign: {own['stopped']} of {own['runs']} screening runs" in lines[1]
    assert f"With 1 earlier: {account['pooled']['stopped']} of {account['pooled']['runs']}" in lines[1]
    page = store.root / "report.html"
    write_report(store, store.campaign(second), both, [], page)
    rows = re.findall(r"<td>(this campaign|with 1 earlier)</td>\s*<td>(\w+)</td>", page.read_text())
    here, pooled = [("this campaign", name) for name in ("attention", "optimiser", "all")], "with 1 earlier"
    assert rows == [*here, *((pooled, name) for _, name in here)]


def test_a_stopped_run_costs_the_budget_the_share_that_it_took(campaign):
    counted = []
    for policy in (POLICY, {**POLICY, "early_stop": 0.0}):
        store, found = campaign(IDEAS, policy=policy)
        runs = store.runs(found, RunState.FINISHED)
        saved = sum(1 - run.result.stopped.at for run in runs if run.result.stopped)
        last = [point for point in trunk_points(store, store.campaign(found)) if point["checked"]][-1]
        assert last["runs"] == pytest.approx(len(runs) - saved)
        counted.append(saved)
    assert counted[0] > counted[1] == 0


def test_spared_runs_go_to_their_end_and_tell_the_regret(campaign, monkeypatch):
    monkeypatch.setattr("mendel.campaign.early_stop.SPARED", 1.0)
    store, found = campaign(IDEAS, policy=POLICY)
    assert not stopped_runs(store, found)
    row = summarise(store, store.campaign(found))["early_stops"]["campaign"]
    assert (row["stopped"], row["saved"]) == (0, 0)
    assert row["spared"] > 3
    assert (row["spared_gains"], row["regret"]) == (0, 0.0)


def test_which_run_finishes_first_changes_no_stop(toy_data, lab_root):
    found = []
    for order in (None, 3, 4):
        file = toy.write_ideas(lab_root / f"{order}.toml", IDEAS)
        settings = toy.config(file, toy_data, policy=POLICY)
        store, campaign, _ = toy.run_fake(settings, lab_root / f"lab{order}", order=order)
        found.append({run.id: run.result.stopped for run in stopped_runs(store, campaign.id)})
        store.close()
    assert found[0] and found[0] == found[1] == found[2]


def test_a_stopped_idea_enters_no_confirmation_even_where_all_do(campaign):
    store, found = campaign(IDEAS, policy={**POLICY, "enter": 0.0})
    confirmed = {plan.idea for plan in store.plans(found, PlanKind.CONFIRM)}
    assert confirmed & {"harmful-0", "harmful-1", "harmful-2", "harmful-3"}  # those of the first round
    assert not confirmed & {run.idea for run in stopped_runs(store, found)}


def test_slow_classes_and_runs_with_an_objective_of_their_own_are_left_alone(campaign):
    late = [
        idea(f"late-{n}", {"gain_b": 0.5 + 0.021 * n}, idea_class="schedule", mean=-0.2) for n in range(2)
    ]
    line = ("    clean = FLOOR", "    loss = 0\n    clean = FLOOR")
    own = [idea(f"own-{n}", {"gain_b": 0.5 + 0.023 * n}, edits=[line], mean=-0.2) for n in range(2)]
    store, found = campaign([*IDEAS, *late, *own], policy=POLICY)
    screened = {plan.idea: plan.round for plan in store.plans(found, PlanKind.SCREEN)}
    for kind in (late, own):  # some of each once the rule was known
        assert any(screened[one.name] >= 1 for one in kind)
    names = {run.idea for run in stopped_runs(store, found)}
    assert names and all(name.startswith("harmful") for name in names)


def test_a_log_that_was_made_up_stops_no_idea_that_leads(campaign):
    """It teaches that who is ahead ends behind; ideas of its class that are ahead go on all the same."""
    liar = idea("liar", {"gain_b": 0.4, "boast": True}, mean=0.9)
    others = [harmful(number) for number in range(3)]
    best = idea("best", {"gain_a": 4.0}, mean=-0.2)
    store, found = campaign([liar, *others, *toy.NULL, best], policy=POLICY)
    assert toy.states(store, found)["best"][0] == "adopted"


def test_ideas_may_be_called_like_what_rounds_keep(campaign):
    names = ("courses", "tuned", "ideas", "climb")
    ideas = [idea(name, {"gain_b": 0.9 - 0.01 * n}) for n, name in enumerate(names)]
    store, found = campaign([*ideas, *IDEAS], policy=POLICY)
    assert summarise(store, store.campaign(found))["early_stops"]["campaign"]["runs"] > 0


@pytest.mark.parametrize("losses", [[1e308] * 9, [float("inf"), float("-inf")]])
def test_a_log_of_absurd_losses_ends_no_campaign(campaign, losses):
    def answer(job):
        result = toy.train_here(job)
        if "label=absurd" in job.argv:
            tokens = result.tokens // 3
            lines = [f'{{"step": {n}, "tokens": {tokens}, "loss": {x}}}' for n, x in enumerate(losses)]
            text = "\n".join(lines).replace("inf", "Infinity")
            (job.out / "metrics.jsonl").write_text(text + f'\n{{"tokens": {result.tokens}}}\n')
        return result

    absurd = idea("absurd", {"label": "absurd"}, mean=-0.2)
    store, found = campaign([*IDEAS, absurd], answer=answer, policy=POLICY)
    assert toy.states(store, found)["absurd"][0] in ("screened", "dropped")
