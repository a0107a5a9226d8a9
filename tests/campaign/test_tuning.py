"""Knobs are tuned before they are judged, and code is compared with a control as well tuned."""

import math
import shutil
from io import StringIO

import pytest
import toy
from rich.console import Console

from mendel.campaign.config import ConfigError
from mendel.campaign.factors import of_campaign
from mendel.campaign.summary import summarise, trunk_points
from mendel.plans.seeds import seed_block
from mendel.records import Edit, Interval, Patch, PlanKind, Range, Shard
from mendel.report import write_report
from mendel.report.lookup import describe, render
from mendel.store import Store
from mendel.testbeds import load_testbed

BEST = 4.0
"""Of the knob `rate`, which is 1: two octaves that cost half of the compute."""
RATE = {"rate": Range(low=0.5, high=16.0, log=True)}
TUNE = PlanKind.TUNE.value
EDIT = Edit(path="train.py", search="EFFICIENCY = 1.0", replace="EFFICIENCY = 1.6")
OWN_KNOB = Edit(path="train.py", search='    "gain_a": 1.0,', replace='    "gain_a": 1.0,\n    "own": 1.0,')


def idea(name, tune=None, overrides=None, edits=(), **words):
    """An idea of the toy testbed with knobs to tune."""
    patch = Patch(tune=tune or {}, overrides=overrides or {}, edits=edits)
    return toy.idea(name, {"label": "x"}, **words).model_copy(update={"patch": patch})


KNOB = idea("knob", RATE)
EMPTY = idea("empty", RATE, {"label": "x"})
"""Changes a run's own noise and nothing else; its knob gains."""
CODE = idea("code", RATE, edits=(EDIT,))


@pytest.fixture(scope="module")
def tunable(fast_disk):
    """The toy testbed with a knob that can be tuned."""
    folder = shutil.copytree(toy.TESTBED, fast_disk / "tunable")
    file = folder / "train.py"
    text = file.read_text().replace("KNOBS = {", 'KNOBS = {\n    "rate": 1.0,')
    text = text.replace("import json\n", "import json\nimport math\n")
    falls = f'* 2 ** (-math.log2(knobs["rate"] / {BEST}) ** 2 / 4)'
    file.write_text(text.replace('* knobs["gain_c"]', f'* knobs["gain_c"] {falls}'))
    load_testbed(str(folder))
    return folder


@pytest.fixture
def campaign(toy_data, lab_root, tunable, monkeypatch):
    monkeypatch.setattr(toy, "TESTBED", tunable)
    stores = []

    def run(ideas, name="lab", answer=None, workers=2, order=None, **changes):
        file = toy.write_ideas(lab_root / f"{name}.toml", ideas)
        settings = toy.config(file, toy_data, **{"workers": workers, **changes})
        store, found, outcome = toy.run_fake(settings, lab_root / name, workers, order, answer)
        stores.append(store)
        return store, found.id, outcome

    yield run
    for store in stores:
        store.close()


def finding(store, campaign, name):
    return next(found for found in store.findings(campaign) if found.idea.name == name)


def said(store, campaign, name):
    return [event.message for event in store.events(campaign) if event.stage == TUNE and event.idea == name]


def tuning_runs(store, campaign):
    return {run.spec for run in store.runs(campaign) if run.stage == TUNE}


def control_of(store, campaign, name, kind=PlanKind.SCREEN, number=0):
    """The recipe that an idea was compared with."""
    (plan,) = store.plans(campaign, kind, number, name)
    return store.recipe(plan.control)


def test_a_knob_is_tuned_to_near_its_best_value_and_then_proved_on_seeds_of_its_own(campaign):
    store, found, outcome = campaign([KNOB, *toy.NULL])
    adopted = finding(store, found, "knob")
    rate = adopted.idea.patch.overrides["rate"]
    assert BEST / 2 < rate < BEST * 2 and adopted.idea.patch.tune == {}
    assert outcome.trunk.trunk.adopted == (adopted.idea,) and adopted.adopted
    truth = 2 * 2 ** (-(math.log2(rate / BEST) ** 2) / 4)
    assert 2**adopted.log2_cm.low < truth * 1.03 and 2**adopted.log2_cm.high > truth / 1.03
    assert said(store, found, "knob") == [f"knob: tuned: rate {rate:g} (8 trials)"]
    seeds = {spec.seed for spec in tuning_runs(store, found)}
    assert seeds == set(seed_block(1, 0, PlanKind.TUNE, 1))
    assert not seeds & {run.spec.seed for run in store.runs(found) if run.stage != TUNE}
    assert len(tuning_runs(store, found)) == 8
    assert {spec.shard for spec in tuning_runs(store, found)} == {Shard.VALIDATION}


def test_code_that_does_nothing_is_not_claimed_for_the_knob_that_it_brings(campaign):
    """The very same recipe is claimed where it is compared with the trunk as it was."""
    store, found, _ = campaign([EMPTY, *toy.NULL], policy={"enter": 0.0})
    (plan,) = store.plans(found, PlanKind.CONFIRM, 0, "empty")
    (verdict,) = store.verdicts(found, plan.id)
    assert verdict.kind != "better" and not store.findings(found)
    assert abs(verdict.difference.value) < 0.02
    values = store.recipe(plan.treatment).overrides
    assert values["rate"] > 2 and set(values) == {"rate", "label"}
    assert store.recipe(plan.control).overrides["rate"] == pytest.approx(values["rate"], rel=0.5)

    fixed = idea("fixed", overrides=values)
    store, found, _ = campaign([fixed, *toy.NULL], "untuned")
    claimed = finding(store, found, "fixed")
    (plan,) = store.plans(found, PlanKind.CONFIRM, 0, "fixed")
    assert store.recipe(plan.treatment).overrides == values and claimed.log2_cm.low > 0.5


def test_code_that_gains_is_credited_with_what_it_gains_over_the_tuned_control(campaign):
    store, found, outcome = campaign([CODE, *toy.NULL], budget="400runs")
    code = finding(store, found, "code")
    assert code.adopted and code.idea.patch.edits == (EDIT,) and code.idea.patch.overrides["rate"] > 2
    control = control_of(store, found, "code")
    assert set(control.overrides) == {"rate"} and store.recipe(code.control) == control
    rates = [one["rate"] for one in (control.overrides, code.idea.patch.overrides)]
    off = [2 ** (-(math.log2(rate / BEST) ** 2) / 4) for rate in rates]
    truth = 1.6 * off[1] / off[0]
    assert 2**code.log2_cm.low < truth * 1.03 and 2**code.log2_cm.high > truth / 1.03
    assert 2 ** (code.log2_cm.high - code.log2_cm.low) < 1.2
    # The trunk itself is measured against the original, and has both gains.
    adopted, *_ = trunk_points(store, store.campaign(found))
    for whole in (outcome.trunk_cm[0], Interval.model_validate(adopted["log2_cm"])):
        assert 2**whole.low < 3.2 * off[1] * 1.03 and 2**whole.high > 3.2 * off[1] / 1.03
    assert said(store, found, "code") == [f"code: tuned: rate {rates[1]:g} (8 trials; control {rates[0]:g})"]


def test_ideas_that_tune_the_same_share_the_search_of_their_control(campaign):
    other = idea("other", RATE, {"label": "y"})
    narrow = idea("narrow", {"rate": Range(low=1.0, high=8.0, log=True)}, {"label": "z"})
    policy = {"max_pairs": 5, "screen_ideas": 5}

    def controls(ideas, name):
        store, found, _ = campaign([*ideas, *toy.NULL], name, policy=policy, budget="200runs")
        recipes = [store.recipe(spec.recipe).overrides for spec in tuning_runs(store, found)]
        return [overrides for overrides in recipes if "label" not in overrides]

    # The last trial of each is the other's best: one run that the two do not share.
    assert len(controls([EMPTY], "one")) in (7, 8)
    assert len(controls([EMPTY, other], "two")) <= 9
    assert len(controls([EMPTY, narrow], "three")) in (13, 14, 15)
    late = other.model_copy(update={"forecast": other.forecast.model_copy(update={"mean": -0.5})})
    policy["screen_ideas"] = 3
    fillers = [idea(f"filler-{n}", overrides={"gain_b": 0.5, "label": str(n)}, mean=-0.9) for n in range(2)]
    assert len(controls([EMPTY, late, *fillers], "rounds")) <= 9, "another round on the same trunk"


def test_a_knob_that_comes_with_the_patch_is_tuned_without_a_control_and_said_so(campaign):
    grows = Edit(path="train.py", search='* knobs["gain_a"]', replace='* knobs["gain_a"] * knobs["own"]')
    brings = idea("brings", {"own": Range(low=0.5, high=2.0)}, edits=(OWN_KNOB, grows))
    both = idea("both", {"own": Range(low=0.5, high=2.0), **RATE}, edits=(OWN_KNOB,))
    store, found, _ = campaign([brings, both, *toy.NULL], budget="400runs")
    (words,) = said(store, found, "brings")
    assert words.endswith("(8 trials; the control has no such knob)")
    assert control_of(store, found, "brings").overrides == {}
    assert finding(store, found, "brings").idea.patch.overrides["own"] > 1.5
    (words,) = said(store, found, "both")[:1]
    assert "; control has none, " in words
    assert set(control_of(store, found, "both").overrides) == {"rate"}


def test_the_search_of_code_begins_at_the_value_that_its_patch_gives(campaign):
    begins = idea("begins", RATE, {"label": "x", "rate": BEST})
    store, found, _ = campaign([begins, *toy.NULL], policy={"tune_trials": 3})
    recipes = {spec.recipe: store.recipe(spec.recipe).overrides for spec in tuning_runs(store, found)}
    mine = [overrides for overrides in recipes.values() if "label" in overrides]
    assert {"label": "x", "rate": BEST} in mine and {} in recipes.values()
    assert {"rate": BEST} in recipes.values(), "the control never trained at what the patch sets"
    (words,) = said(store, found, "begins")
    assert words == "begins: tuned: rate 4 as it was (3 trials; control 4)"
    poor = idea("poor", RATE, {"label": "x", "rate": 0.5})
    store, found, _ = campaign([poor, *toy.NULL], "poor")
    (plan,) = store.plans(found, PlanKind.SCREEN, 0, "poor")
    assert store.recipe(plan.treatment).overrides["rate"] > 2


def test_an_unknown_knob_of_a_testbed_that_does_not_tell_its_knobs_is_found_by_a_smoke_run(campaign):
    def answer(job):
        result = toy.train_here(job)
        (job.out / "config.json").unlink(missing_ok=True)
        return result

    store, found, _ = campaign(
        [idea("misspelt", {"rat": Range(low=1, high=2)}), KNOB, *toy.NULL], answer=answer
    )
    state, note = toy.states(store, found)["misspelt"]
    assert state == "failed"
    assert note.startswith(
        "no value of rat trains: smoke run crashed: override 'rat' is not a knob; allowed are rate, gain_a"
    )
    assert not any("rat" in store.recipe(spec.recipe).overrides for spec in tuning_runs(store, found))


def test_values_that_diverge_are_left_and_are_no_error(campaign):
    def answer(job):
        rates = [float(part.partition("=")[2]) for part in job.argv if part.startswith("rate=")]
        if rates and rates[0] > 5:
            return toy.train_here(type(job)(**{**vars(job), "argv": (*job.argv, "--set", "fail=nan")}))
        return toy.train_here(job)

    store, found, _ = campaign([KNOB, *toy.NULL], answer=answer)
    assert 1 < finding(store, found, "knob").idea.patch.overrides["rate"] <= 5


def test_a_knob_that_stands_well_is_dropped_and_not_judged(campaign):
    worse = {"gain_b": Range(low=0.1, high=0.9)}
    store, found, _ = campaign([idea("worse", worse), KNOB, *toy.NULL])
    state, note = toy.states(store, found)["worse"]
    assert (state, note) == (
        "dropped",
        "tuned: gain_b 1 as it was (8 trials): no better values than the trunk has",
    )
    assert not store.plans(found, idea="worse")
    rounds = store.decisions([found], "/tuned")[found]
    assert set(rounds["0/tuned"]["ideas"]) == {"worse", "knob"}
    assert set(rounds["1/tuned"]["ideas"]) == {"worse"}, "the trunk is another one now"
    assert len(rounds) == 2


def test_an_idea_is_tuned_anew_on_a_new_trunk_and_not_twice_on_one(campaign):
    ideas = [idea("first", RATE, mean=0.5), idea("second", RATE, {"label": "x"}, mean=-0.3), *toy.NULL]
    harms = [idea(f"harm-{n}", overrides={"gain_b": 0.4, "label": str(n)}, mean=-0.6) for n in range(4)]
    store, found, outcome = campaign([*ideas, *harms], budget="500runs", policy={"screen_ideas": 3})
    tuned = {key: set(kept["ideas"]) for key, kept in store.decisions([found], "/tuned")[found].items()}
    trunks = [kept["on"] for kept in store.decisions([found], "/tuned")[found].values()]
    assert outcome.trunk.names == ("first",)
    assert tuned["0/tuned"] == {"first"} and len(set(trunks)) == 2
    times = [key for key, names in tuned.items() if "second" in names]
    assert len(times) == 1, "its trunk did not change again"
    # On the trunk that the first one tuned, the knob is another idea's: a value found there may replace it.
    (plan, *_) = store.plans(found, PlanKind.SCREEN, idea="second")
    assert store.recipe(plan.treatment).overrides["label"] == "x"
    assert toy.states(store, found)["second"][0] in ("screened", "dropped")


def test_changes_that_tuned_the_same_knob_join_the_trunk_together_but_not_the_knob_by_itself(campaign):
    """Its value would be replaced by theirs, and nothing of it would be left."""
    moves = Edit(path="train.py", search=f"/ {BEST})", replace="/ 2.0)")
    rival = idea("rival", RATE, {"gain_a": 1.3}, edits=(moves,))
    store, found, outcome = campaign([KNOB, CODE, rival, *toy.NULL], budget="400runs")
    rates = {one.idea.name: one.idea.patch.overrides["rate"] for one in store.findings(found)}
    assert rates["knob"] == pytest.approx(BEST, rel=0.5) and rates["rival"] == pytest.approx(2.0, rel=0.5)
    assert set(rates) == {"knob", "code", "rival"} and rates["code"] != rates["rival"]
    assert sorted(outcome.trunk.names) == ["code", "rival"]
    last = outcome.trunk.names[-1]
    assert store.recipe(outcome.trunk.recipe).overrides["rate"] == rates[last]


def test_a_budget_without_room_for_tuning_lets_such_ideas_wait(campaign):
    ideas = [KNOB, EMPTY, CODE, *toy.NULL, *toy.GOOD]
    for budget in (80, 100, 130, 200):
        store, found, _ = campaign(ideas, f"lab{budget}", budget=f"{budget}runs")
        assert len(store.runs(found)) <= budget * 1.05
    assert tuning_runs(store, found)
    store, found, _ = campaign(ideas, "scarce", budget="60runs")
    assert not tuning_runs(store, found)
    assert {toy.states(store, found)[one.name][0] for one in (KNOB, EMPTY, CODE)} == {"queued"}


def test_a_budget_too_small_for_ideas_that_all_tune_says_what_they_need(campaign):
    with pytest.raises(
        ConfigError, match="budget: 60 runs is too small; 3 ideas .* need ([0-9]+) runs"
    ) as error:
        campaign([KNOB, EMPTY, CODE], budget="60runs")
    needed = int(str(error.value).split()[-2])
    store, found, _ = campaign([KNOB, EMPTY, CODE], "enough", budget=f"{needed}runs")
    assert len(store.runs(found)) <= needed * 1.05 and tuning_runs(store, found)


# --- whatever happens, the same ---------------------------------------------------------------------------

ALL = [KNOB, EMPTY, CODE, *toy.NULL]


def outcome_of(store, campaign):
    runs = [(run.id, run.stage, run.idea, run.state) for run in store.runs(campaign)]
    messages = [event.message for event in store.events(campaign)]
    assert len(messages) == len(set(messages)), "a line was logged twice"
    return (
        *(toy.verdict_records(store, campaign), toy.finding_records(store, campaign)),
        *(toy.states(store, campaign), sorted(messages), sorted(runs)),
    )


@pytest.mark.parametrize("sampler", ["tpe", "cma-es"])
def test_the_workers_and_the_order_of_finishing_change_nothing(campaign, sampler):
    two = {"rate": RATE["rate"], "gain_c": Range(low=0.5, high=1.0)}
    policy = {"tune_sampler": sampler, "tune_trials": 12}

    def run(workers, order):
        ideas = [idea("pair", two), CODE, *toy.NULL]
        store, found, _ = campaign(ideas, f"lab{workers}", workers=workers, order=order, policy=policy)
        return outcome_of(store, found)

    assert run(1, None) == run(3, 2) == run(7, 3)


class Killed(Exception):
    """The machine went away."""


def test_killed_at_any_run_of_a_search_it_asks_for_the_same_runs(campaign, toy_data, lab_root):
    store, found, _ = campaign(ALL, workers=1, budget="300runs")
    reference = outcome_of(store, found)
    wanted = {run.id for run in store.runs(found, stage=TUNE)}
    killed = set()

    def answer(job):
        if job.id in wanted and job.id not in killed:
            killed.add(job.id)
            raise Killed
        return toy.train_here(job)

    root = lab_root / "killed"
    settings = toy.config(lab_root / "lab.toml", toy_data, workers=1, budget="300runs")
    with pytest.raises(Killed):
        toy.run_fake(settings, root, workers=1, answer=answer)
    while True:
        with Store(root) as again:
            try:
                toy.continue_fake(settings, again, again.campaign(), workers=1, answer=answer)
            except Killed:
                continue
            assert killed == wanted and len(wanted) > 20
            assert outcome_of(again, again.campaign().id) == reference
            return


# --- what others see of it ---------------------------------------------------------------------------------


@pytest.fixture
def told(campaign):
    store, found, _ = campaign([CODE, *toy.NULL], budget="400runs")
    return store, store.campaign(found)


def test_an_ablation_takes_the_values_that_were_found(campaign):
    store, found, _ = campaign([KNOB, *toy.NULL])
    (factor,) = of_campaign(store, store.campaign(found))
    assert factor.on.patch.overrides.keys() == {"rate"}


def test_the_report_shows_the_values_and_what_they_were_compared_with(told, lab_root):
    store, found = told
    path = lab_root / "report.html"
    write_report(store, found, summarise(store, found), trunk_points(store, found), path)
    page = path.read_text()
    rate = finding(store, found.id, "code").idea.patch.overrides["rate"]
    assert f"tuned: rate {rate:g} (8 trials; control" in page
    assert "compared with the trunk whose knobs were searched as long" in page
    assert "of code with tuned knobs, over that trunk as well tuned" in page


def test_show_tells_the_values_of_both_arms(told):
    store, found = told
    console = Console(file=StringIO(), width=400)
    shown = describe(store, found, "code")
    render(console, shown)
    assert "rate" in console.file.getvalue() and shown["idea"]["patch"]["tune"]["rate"]["low"] == 0.5


def test_an_adopted_change_climbs_with_its_own_control(campaign):
    store, found, _ = campaign([CODE, *toy.NULL], budget="500runs", rungs=(0, 1))
    (plan,) = store.plans(found, PlanKind.CLIMB)
    code = finding(store, found, "code")
    assert plan.control == code.control and plan.treatment == code.treatment
    at_rung = code.by_rung[1].log2_cm
    assert 2**at_rung.low < 1.6 * 1.03 and 2**at_rung.high > 1.6 / 1.03
    assert 2 ** (at_rung.high - at_rung.low) < 1.3
