"""The section on rechecks: words first, and every number of the record."""

from __future__ import annotations

from pathlib import Path

from mendel.records import Earning, Interaction, Interval, Recheck, Standing
from mendel.report.recheck import earnings_figure
from tests.report.campaigns import HOSTILE, whole_campaign
from tests.report.test_report import Page, make, plain


def of(value: float, half: float = 0.05) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def record(**changes: object) -> Recheck:
    earning = Earning(
        name="good",
        standing=Standing.EARNS,
        pairs=6,
        difference=of(0.123),
        log2_cm=of(0.456),
        at_adoption=of(0.789),
    )
    evicted = earning.model_copy(
        update={"name": "old", "with_it": ("child",), "standing": Standing.EVICTED, "log2_cm": of(-0.007)}
    )
    lost = Earning(name="stuck", standing=Standing.UNTESTED, reason="without it nothing runs")
    fields = {
        "round": 0, "attempt": 0, "rung": 0, "recipe": "abc", "least": 0.01,
        "adopted": ("good", "old", "stuck"), "whole": of(1.1), "changes": (earning, evicted, lost),
        "interactions": (Interaction(changes=("good", "old"), pairs=6, log2_cm=of(-0.321)),),
        "summary": (f"good and old together gain less {HOSTILE}",),
    }  # fmt: skip
    return Recheck.model_validate({**fields, **changes})


def test_the_section_says_it_in_words_and_then_shows_every_number(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    with b.store:
        b.store.decide(b.id, "recheck/0/0", record().model_dump(mode="json"))
        page = make(b, tmp_path / "report.html")
    text = plain(page)
    section = text[text.index("On fresh seeds the trunk") :]
    words = section.index("good and old together gain less <script>")
    for number in ("+0.1230 [+0.0730, +0.1730]", "+0.456 [", "+0.789 [", "−0.007 [", "−0.321 ["):
        assert section.index(number) > words
    assert "old (with child)" in section and "not tested" in section
    assert "script" not in Page(page).tags


def test_without_a_recheck_the_page_says_why(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    with b.store:
        text = plain(make(b, tmp_path / "a.html"))
        assert "The trunk was not rechecked: none of two changes or more was due." in text
        b.store.event(b.id, "recheck", "trunk before round 1: not rechecked, that takes 26 runs")
        text = plain(make(b, tmp_path / "b.html"))
        assert "Trunk before round 1: not rechecked, that takes 26 runs." in text
        assert text.count("not rechecked") == 1


def test_a_finding_that_was_evicted_says_so(tmp_path: Path) -> None:
    b = whole_campaign(tmp_path / "lab")
    with b.store:
        (finding,) = b.store.findings(b.id)
        gone = finding.model_copy(
            update={"adopted": False, "evicted": "evicted before round 3: it adds nothing"}
        )
        b.store.put_finding(b.id, gone)
        assert b.store.findings(b.id) == [gone]
        text = plain(make(b, tmp_path / "report.html"))
    assert "good adopted, then evicted" in text and "evicted before round 3: it adds nothing" in text


def test_the_figure_has_a_zero_line_and_every_row() -> None:
    figure = earnings_figure(record())
    (axes,) = figure.axes
    told = [text.get_text() for text in axes.texts]
    assert {"good", "old", "good × old"} <= set(told) and "stuck" not in told
    assert [line for line in axes.lines if list(line.get_xdata()) == [0, 0]]
    assert [line for line in axes.lines if list(line.get_xdata()) == [0.01, 0.01]]
    assert axes.get_xlabel().startswith("log2 CM") and axes.get_title(loc="left")
    points = {float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    assert points == {0.456, -0.007, 0.789, -0.321}
