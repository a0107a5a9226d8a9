"""The page: whole, safe to open, and equal to what the store says."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mendel.campaign.config import read_config
from mendel.campaign.summary import summarise, trunk_points
from mendel.records import Interval, PlanKind, RunResult, RunStatus, Verdict, VerdictKind
from mendel.report import write_report
from mendel.report.facts import gather
from mendel.report.page import SECTIONS
from mendel.report.repeat import settings_toml
from mendel.store import CampaignState, IdeaState
from tests.report.campaigns import PER_TOKEN, Builder, idea, whole_campaign

VOID = {"meta", "br", "col"}


class Page(HTMLParser):
    """A page taken apart, which insists that every element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def make(b: Builder, path: Path) -> str:
    campaign = b.now()
    write_report(b.store, campaign, summarise(b.store, campaign), trunk_points(b.store, campaign), path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(finished: Builder, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make(finished, tmp_path_factory.mktemp("report") / "deep" / "report.html")


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", Page(html).text)


def test_the_page_is_well_formed_and_has_every_section(html: str) -> None:
    page = Page(html)
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids)), "identifiers of two figures collide"
    assert "svg" in page.tags
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids), "a link or a figure refers to what is not there"


def test_the_page_refers_to_nothing_outside_itself(html: str) -> None:
    page = Page(html)
    assert all(link.startswith("#") for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "img", "object", "base"}
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", html)


def test_what_ideas_and_runs_wrote_stays_text(html: str) -> None:
    page = Page(html)
    assert "<script" not in html and '<script>alert("x")</script>' in page.text
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert "<b>bold</b>" in page.text  # of a source file
    assert not set("\x1b\x00\u202e") & set(html)


def test_numbers_are_the_stores(finished: Builder, html: str) -> None:
    text, store = plain(html), finished.store
    summary = summarise(store, finished.now())
    assert f"{summary['trunk_cm']:.2f} times the compute" in text
    finding = store.findings(finished.id)[0]
    low, high = 2**finding.log2_cm.low, 2**finding.log2_cm.high
    assert f"2.00 [{low:.2f}, {high:.2f}]" in text
    assert "+0.250 [+0.200, +0.300] bits per byte (3 fresh pairs)" in text
    assert "Claimed here: 0 of 0 blanks in confirmation, so no rate is known." in text
    assert "nothing is measured of how many claims are false" in text
    ledger = store.ledger(finished.id)
    assert f"all{sum(row.runs for row in ledger)}" in text.replace(",", "").replace(" ", "")
    assert finding.refuted_by in text and "charged × 1.000, by FLOPs" in text
    assert finished.now().fingerprint.corpus in text and finished.now().fingerprint.id in text


def test_failures_and_ideas_not_tried_are_told(html: str) -> None:
    text = plain(html)
    failures = text[text.rindex("Failures and ideas not tried") :]
    assert "smoke run crashed" in failures and "does not apply any more" in failures
    assert "1 run failed" in failures and "diverged" in failures
    assert "2 ideas not tried" in failures and "waiting, hidden-blank (blank)" in failures


def test_a_blank_that_is_still_in_play_is_not_given_away(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    b.store.set_state(b.id, CampaignState.RUNNING)
    text = plain(make(b, tmp_path / "r.html"))
    assert "quiet-blank (blank)" in text and "waiting, hidden-blank" in text
    assert "hidden-blank (blank)" not in text and "initial stream" not in text


def test_the_ledger_marks_what_was_planted_once_that_is_known(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    kinds = {"seen-gain": "gain 0.25", "seen-blank": "batch order", "unseen-blank": "batch order"}
    b.store.add_ideas(b.id, [idea(name) for name in ("real", *kinds)])
    b.store.add_blanks(b.id, kinds)
    for place, name in enumerate(("real", *kinds)):
        plan = b.plan(PlanKind.SCREEN, name, b.recipe(f"y = {place}\n", {}, name), (place, 10))
        b.pairs(plan, [0.1, 0.1], 0.2, VerdictKind.NO_DIFFERENCE_SHOWN)
    b.store.unblind(b.id, "seen-gain")
    b.store.unblind(b.id, "seen-blank")
    text = plain(make(b, tmp_path / "r.html"))
    ledger = text[text.rindex("By idea") : text.rindex("Controls and scaling curves are shared")]
    assert "seen-gain (known gain)2" in ledger and "seen-blank (blank)2" in ledger
    assert "real2" in ledger and "unseen-blank2" in ledger


@pytest.mark.parametrize(
    ("hope", "why"),
    [(0.01, "none of 1 run was shown to be hopeless"), (0.0, "that was switched off (early_stop = 0)")],
)
def test_where_nothing_was_stopped_early_there_is_a_sentence_and_no_table(hope, why, tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab", policy={"early_stop": hope})
    b.curve()
    seen = [{"idea_class": "attention", "final": 0.1}]
    b.store.decide(b.id, "0/courses", {"rung": 0, "min_gain": 0.01, "pairs": seen})
    text = plain(make(b, tmp_path / "r.html"))
    assert f"No screening run was stopped early: {why}." in text
    assert "runs saved" not in text
    seen.append({"idea_class": "attention", "stopped": 0.5})
    b.store.decide(b.id, "1/courses", {"rung": 0, "min_gain": 0.01, "pairs": seen})
    text = plain(make(b, tmp_path / "r2.html"))
    assert "runs saved" in text and "No screening run was stopped early" not in text


def test_one_of_a_kind_is_told_in_the_singular(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    b.store.add_ideas(b.id, [idea("only"), idea("nothing")])
    b.store.add_blanks(b.id, {"nothing": "batch order"})
    plan = b.plan(PlanKind.CONFIRM, "nothing", b.recipe("x = 2\n", {}, "nothing"), (1, 2))
    b.pairs(plan, [0.0, 0.1], 0.0, VerdictKind.NO_DIFFERENCE_SHOWN)
    b.store.set_idea_state(b.id, "nothing", IdeaState.DROPPED)
    b.store.unblind(b.id, "nothing")
    text = plain(make(b, tmp_path / "r.html"))
    assert "1 blank stood in the queue; 1 was judged, 1 of them in confirmation." in text
    assert "0 of 1 blank in confirmation; Clopper" in text
    assert "of 1 idea judged, none was shown" in text and "1 idea not tried" in text


def test_a_missing_sandbox_is_said_in_red_first_of_all(html: str) -> None:
    assert re.search(r'<span class="bad">none: ', html)
    banner = html.index('<p class="bad banner" role="alert">No sandbox:')
    assert html.index("</h1>") < banner < html.index('<p class="lead">')


def test_rejections_are_told_in_full_and_claims_with_their_audits(html: str) -> None:
    section = html[html.index('<section id="audits">') :]
    section = section[: section.index("</section>")]
    assert "<td>peeking</td><td>audit future: 12 of 12 answers " in section
    assert "good: 2 audits, all passed" in section and "peeking: 1 audit, 1 failed" in section
    assert '<span class="bad">violation</span>' in section
    assert "<script>" not in section


def test_an_intervals_group_follows_its_verdict(finished: Builder) -> None:
    rows = {row.name: row for row in gather(finished.store, finished.now()).judged()}
    assert rows["good"].group == "adopted" and rows["good"].stage is PlanKind.ESTIMATE
    assert rows["dropped"].group == "worse" and rows["dropped"].failures == 1
    assert rows["screened"].group == "screened" and rows["screened"].blank is None


def test_a_campaign_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    text = plain(make(b, tmp_path / "r.html"))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["r.html"]
    assert "still running" in text and "No idea has been judged so far." in text
    assert "No idea has been measured yet." in text and "No idea was claimed yet." in text


def test_a_stopped_campaign_without_findings_says_so(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    b.store.add_ideas(b.id, [idea("one")])
    other = b.recipe("x = 3\n", {}, "other")
    plan = b.plan(PlanKind.SCREEN, "one", other, (1, 2))
    b.pairs(plan, [None, None], -3.0, VerdictKind.FAILED)
    b.store.set_state(b.id, CampaignState.STOPPED)
    text = plain(make(b, tmp_path / "r.html"))
    assert "stopped before its end" in text and "No change was adopted" in text
    assert "No blanks were planted" in text and "No idea was claimed." in text


def test_every_rung_has_its_own_curve_and_trunk(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    done = RunResult(status=RunStatus.DONE, bits_per_byte=5.0, tokens=4096)
    b.store.put_cost(b.id, b.original, 1, 2 * PER_TOKEN, done)
    b.curve(rung=1)
    plan = b.store.plans(b.id, PlanKind.VERIFY)[0]
    b.store.put_plan(b.id, plan.model_copy(update={"rung": 1}))
    summary, points = summarise(b.store, b.now()), trunk_points(b.store, b.now())
    points.append({**points[0], "rung": 1, "log2_cm": Interval(value=0.5, low=0.2, high=0.9).model_dump()})
    rung = {"cm": 1.414, "cm_low": 1.149, "cm_high": 1.866}
    summary["trunk_by_rung"]["1"] = {**rung, "bounded": False, "high_bounded": False, "extrapolated": False}
    write_report(b.store, b.now(), summary, points, tmp_path / "r.html")
    text = plain((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "(rung 0)" in text and "(rung 1)" in text and "CM 1.41 [1.15, 1.87]" in text
    assert "rung 1: 1.41 [1.15, 1.87]" in text


def test_run_folders_that_are_gone_or_hostile_do_not_stop_the_report(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    secret = tmp_path / "secret"
    secret.write_text('{"tokens": 1, "loss": 1}\n' * 50)
    runs = sorted((b.store.root / "runs" / b.id).iterdir())
    for place, folder in enumerate(runs):
        metrics = folder / "out" / "metrics.jsonl"
        metrics.unlink()
        if place % 2:
            metrics.symlink_to(secret)
        else:
            os.mkfifo(metrics)
    assert "the run folders are not here" in make(b, tmp_path / "r.html")


def test_hundreds_of_ideas_keep_the_forest_to_a_page(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    b.store.add_ideas(b.id, [idea(f"idea-{i:03}") for i in range(150)])
    other = b.recipe("x = 3\n", {}, "other")
    for i in range(150):
        plan = b.plan(PlanKind.SCREEN, f"idea-{i:03}", other, (i,))
        cm = Interval(value=0.01 * i, low=float("-inf"), high=20.0)
        verdict = Verdict(plan=plan.id, kind=VerdictKind.NO_DIFFERENCE_SHOWN, pairs=2, log2_cm=cm)
        b.store.put_verdict(b.id, verdict)
    text = plain(make(b, tmp_path / "r.html"))
    assert "Every judged idea (60 of 150)" in text and "All 150 as a table" in text
    assert "idea-149" in text and "idea-000" in text


def test_a_report_that_cannot_be_finished_leaves_the_old_one(finished: Builder, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("the old one")
    with pytest.raises(KeyError):
        write_report(finished.store, finished.now(), {"trunk_cm": 2.0, "trunk_cm_low": 1.5}, [], path)
    assert path.read_text() == "the old one" and list(tmp_path.iterdir()) == [path]


def test_the_settings_in_the_report_are_those_of_the_campaign(tmp_path: Path) -> None:
    for number, config in enumerate(
        ({"budget": "20m"}, {"budget": "300runs", "goal": 'Say "hi"\\\n', "rungs": [0, 1]})
    ):
        b = Builder(tmp_path / str(number), **config)
        file = tmp_path / f"{number}.toml"
        file.write_text(settings_toml(b.campaign.config))
        assert read_config(file, {}).model_dump(mode="json") == b.campaign.config


def test_the_rate_of_blanks_is_told_here_and_pooled(finished: Builder, tmp_path: Path) -> None:
    summary = summarise(finished.store, finished.now())
    own = {"confirmed": 4, "claimed": 1, "rate": 0.25, "low": 0.0063, "high": 0.8059}
    pooled = {"campaigns": 3, "confirmed": 20, "claimed": 1, "rate": 0.05, "low": 0.0013, "high": 0.2487}
    summary["blanks"] |= {"campaign": own, "pooled": pooled}
    write_report(finished.store, finished.now(), summary, [], tmp_path / "r.html")
    text = plain((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Claimed here: 1 of 4 blanks in confirmation; Clopper-Pearson 95 %: 1 to 81 %." in text
    assert "In 3 campaigns of this store with the same judge: 1 of 20 blanks in confirmation" in text


def test_a_known_gain_is_shown_once_it_is_unblinded_and_not_before(tmp_path: Path) -> None:
    b = Builder(tmp_path / "lab")
    b.store.add_ideas(b.id, [idea("winner"), idea("secret")])
    b.store.add_blanks(b.id, {"winner": "gain 0.25", "secret": "gain 0.15"})
    for place, name in enumerate(("winner", "secret")):
        recipe = b.recipe(f"x = {place}\n", {}, name)
        b.pairs(b.plan(PlanKind.CONFIRM, name, recipe, (place, 10)), [0.1, 0.1], 0.2, VerdictKind.BETTER)
    b.store.unblind(b.id, "winner")
    text = plain(make(b, tmp_path / "r.html"))
    assert "winner (known gain)" in text and "secret (known gain)" not in text
    assert "gain 0.25 log2 CM" in text and "gain 0.15" not in text and "yes: found" in text
    assert "2 ideas with a known gain planted: what became of that is told when" in text
    for name in ("winner", "secret"):
        b.store.unblind(b.id, name)
    b.store.set_state(b.id, CampaignState.FINISHED)
    text = plain(make(b, tmp_path / "r.html"))
    assert "gain 0.15" in text and "Of 2 planted with a known gain, 2 found" in text


def test_forecasts_are_told_in_words_a_picture_and_tables(finished: Builder, tmp_path: Path) -> None:
    summary = summarise(finished.store, finished.now())
    one = summary["forecasts"]["all"]
    assert one["outcomes"] == 3 and len(one["pit"]) == 10
    one["outcomes"] = 31  # enough for the picture
    write_report(finished.store, finished.now(), summary, [], tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    section = html[html.index('<section id="forecasts">') :]
    section = section[: section.index("</section>")]
    words = summary["forecasts"]["proposers"][0]["words"].replace("+-", "±")
    assert words in section and "90 % intervals covered" in words
    for drawn in ("Where outcomes fell in their forecasts", "share of outcomes", "calibrated", "31 outcomes"):
        assert drawn in section
    assert "<td>attention</td>" in section


def test_forecasts_without_outcomes_are_no_error(tmp_path: Path) -> None:
    assert "No forecast has met its outcome yet." in plain(
        make(Builder(tmp_path / "lab"), tmp_path / "r.html")
    )
