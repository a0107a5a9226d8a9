"""The data figure: what runs say they read, believed no further than a picture."""

from __future__ import annotations

import json

import pytest

from mendel.records import PlanKind
from mendel.report.facts import gather
from mendel.report.svg import inline
from mendel.report.training_text import MOST_SOURCES, data_figure, data_section, parse, training_texts
from tests.report.campaigns import HOSTILE, Builder

RECORD = {
    "tokenizer": "bpe",
    "vocab": 512,
    "tokens": 1000,
    "left_out": {"deduplicate": 3, "min_bytes": 4},
    "sources": [
        {"name": "code", "documents": 5, "bytes": 4000, "tokens": 2000, "read": 250, "epochs": 0.125},
        {"name": "docs", "documents": 7, "bytes": 1500, "tokens": 500, "read": 750, "epochs": 1.5},
    ],
}


def test_shares_epochs_and_bytes_per_token_are_those_of_the_record():
    text = parse("gpt2", json.dumps(RECORD))
    assert [(s.name, s.share, s.epochs, s.bytes_per_token) for s in text.sources] == [
        ("docs", 0.75, 1.5, 3.0),
        ("code", 0.25, 0.125, 2.0),
    ]
    assert (text.tokens, text.vocab, text.left_out) == (1000, 512, 7)
    assert text.bytes_per_token == 2.75


BROKEN = [
    None,
    "",
    "[]",
    "{",
    "[" * 100_000,
    json.dumps(RECORD | {"sources": []}),
    json.dumps(RECORD | {"sources": [{"name": "x"}]}),
    json.dumps(RECORD | {"left_out": 3}),
    json.dumps(RECORD | {"tokens": "many"}),
    json.dumps(RECORD | {"tokens": 1e400}),
    json.dumps(RECORD | {"vocab": -1}),
    json.dumps(RECORD | {"sources": [RECORD["sources"][0] | {"read": 0}]}),
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_what_is_not_such_a_record_is_passed_over(content):
    assert parse("gpt2", content) is None


def test_many_sources_are_cut_to_the_largest_and_names_are_untrusted():
    rows = [{**RECORD["sources"][0], "name": f"{HOSTILE} ${i}$", "read": i + 1} for i in range(40)]
    text = parse("gpt2", json.dumps(RECORD | {"sources": rows}))
    assert len(text.sources) == MOST_SOURCES
    assert sum(source.share for source in text.sources) < 1
    drawn = inline(data_figure([text, text], narrow=True), "data", "about")
    assert "<script" not in drawn and "\x1b" not in drawn


def test_the_figure_has_a_bar_for_each_recipe_and_source_and_names_its_units():
    text = parse("gpt2", json.dumps(RECORD))
    figure = data_figure([text, parse("trunk", json.dumps(RECORD))])
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "share of training tokens (%)",
        "epochs read",
        "bytes per token",
    ]
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert widths == [[75, 25] * 2, [1.5, 0.125] * 2, [3, 2] * 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "gpt2: bpe, 1\u00a0k tokens",
        "trunk: bpe, 1\u00a0k tokens",
    ]


def test_the_section_shows_the_original_and_the_trunk_that_was_checked_last(finished: Builder):
    facts = gather(finished.store, finished.now())
    assert "No finished run has said what it read." in data_section(facts)
    check = [plan for plan in facts.plans.values() if plan.kind is PlanKind.VERIFY][-1]
    written = []
    for recipe, tokenizer in ((facts.original, "bytes"), (check.treatment, "bpe")):
        run = max((r for r in facts.finished if r.spec.recipe == recipe), key=lambda r: r.spec.tokens)
        folder = finished.store.run_folder(finished.id, run.id).out
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.json").write_text(json.dumps(RECORD | {"tokenizer": tokenizer}))
        written.append(folder / "data.json")
    try:
        found = [(text.recipe, text.tokenizer) for text in training_texts(facts)]
        assert found == [("gpt2", "bytes"), ("trunk", "bpe")]
        section = data_section(facts)
        assert section.count("<svg") == 2
        assert "7 documents left out" in section and "75.0 %" in section
    finally:
        for path in written:
            path.unlink()
