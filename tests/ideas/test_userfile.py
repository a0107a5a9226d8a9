"""A user's file of ideas says what the catalog can say, in TOML or Markdown, and is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.ideas.catalog import FOLDER, load_catalog
from mendel.ideas.userfile import (
    MARKERS,
    IdeasError,
    UserFile,
    load_ideas,
    parse_ideas,
    to_markdown,
    to_toml,
)
from mendel.records import IDEA_CLASSES, Edit, Forecast, Idea, Patch, Range

TOML = """
[[idea]]
name = "hot"
class = "optimiser"
hypothesis = "A hotter run learns more."
mechanism = "Doubles the learning rate."
citation = "folklore"
forecast = { mean = 0.1, sd = 0.2 }
slot = "lr"
overrides = { lr = 6e-3, bias = false, schedule = "wsd", depth = 3 }

[idea.tune]
lr = { low = 1e-3, high = 2e-2, log = true }
warmup = { low = 5, high = 100, integer = true }

[[idea.edits]]
path = "model.py"
search = "gelu"
replace = "silu"
"""

MARKDOWN = """# My ideas

Two lines of text before the first heading
are for the reader: alone.

## hot
class: optimiser
forecast: mean=0.1, sd=0.2
citation: folklore
slot: lr

Hypothesis: A hotter run
learns more.

Mechanism: Doubles the learning rate.

```toml
lr = 6e-3
bias = false
schedule = "wsd"
depth = 3
```

```toml tune
lr = { low = 1e-3, high = 2e-2, log = true }
warmup = { low = 5, high = 100, integer = true }
```

```python model.py
<<<<<<< SEARCH
gelu
=======
silu
>>>>>>> REPLACE
```
"""


def load(tmp_path, text, name="ideas.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_ideas(path)


def test_both_formats_say_the_same(tmp_path):
    (idea,) = load(tmp_path, TOML)
    assert (idea,) == load(tmp_path, MARKDOWN, "ideas.md")
    assert idea.proposer == "user"
    assert idea.hypothesis == "A hotter run learns more."
    assert idea.patch.overrides == {"lr": 6e-3, "bias": False, "schedule": "wsd", "depth": 3}
    assert [type(value) for value in idea.patch.overrides.values()] == [float, bool, str, int]
    lr, warmup = Range(low=1e-3, high=2e-2, log=True), Range(low=5, high=100, integer=True)
    assert idea.patch.tune == {"lr": lr, "warmup": warmup}
    assert idea.patch.edits == (Edit(path="model.py", search="gelu", replace="silu"),)


def test_the_whole_catalog_survives_a_round_trip_through_both_formats():
    ideas = load_catalog()
    for write, suffix in ((to_toml, ".toml"), (to_markdown, ".md")):
        text = "\n".join(write(idea) for idea in ideas)
        assert parse_ideas(text, suffix, "round trip", proposer="catalog") == ideas
        with pytest.raises(IdeasError, match="proposer: 'catalog' is the built-in library's"):
            parse_ideas(text, suffix, "a user's file")


def test_several_edits_of_one_file_keep_their_order_and_their_line_ends(tmp_path):
    block = "```model.py\n" + "{}\na\n{}\nb\n\n{}\n{}\nb\n{}\n{}\n```\n".format(*MARKERS, *MARKERS)
    (idea,) = load(tmp_path, MARKDOWN.partition("```python")[0] + block, "ideas.md")
    assert [(e.search, e.replace) for e in idea.patch.edits] == [("a", "b\n"), ("b", "")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[idea]]", "[[ideas]]", "ideas: unknown key; a file holds .*idea.* tables only"),
        ("[[idea]]", "[[idea", "not valid TOML"),
        ('name = "hot"', 'name = "Too Hot"', "idea 'Too Hot': name: .*pattern.*found 'Too Hot'"),
        ('name = "hot"', "name = 3", "idea 1: name: must be text .found 3"),
        ('name = "hot"', "", "idea 1: name: missing; every idea has name, class"),
        ('"optimiser"', '"magic"', "idea 'hot': class: 'magic' is unknown; allowed are architecture"),
        ("slot", "slots", "idea 'hot': slots: unknown key; did you mean slot. allowed are name, class"),
        ("sd = 0.2", "sd = -1", ": forecast.sd: must be above 0 .found -1"),
        ("sd = 0.2", "", "not valid TOML|forecast.sd: missing"),
        ("mean = 0.1", "mean = nan", "forecast.mean: nan is not allowed; give a finite number"),
        ("lr = 6e-3", "lr = inf", "overrides.lr: inf is not allowed"),
        ("lr = 6e-3", 'lr = "fast"', "lr = 'fast': a tuned knob starts at a number"),
        ("low = 1e-3", "low = 0.02", ": tune.lr: low = 0.02 must be below high = 0.02"),
        ("low = 1e-3", "low = 0", ": tune.lr: low = 0 must be above 0 where log = true"),
        ("low = 1e-3", 'low = "1e-3"', ": tune.lr.low: must be a number .found '1e-3'"),
        ("high = 2e-2", "high = inf", ": tune.lr.high: must be a finite number .found inf"),
        ("low = 5,", "low = 5.5,", ": tune.warmup: low = 5.5 and .* must be whole where integer"),
        ("low = 5,", "", ": tune.warmup.low: missing"),
        (
            "log = true",
            "logs = true",
            "tune.lr.logs: unknown key .found True.; did you mean log. allowed are low, high, log",
        ),
        (
            "lr = { low = 1e-3, high = 2e-2, log = true }",
            "lr = [1, 2]",
            r": tune.lr: must be a table .found \[1, 2\]",
        ),
        (
            "depth = 3",
            "depth = [3]",
            r": overrides.depth: must be a number, text, true or false .found \[3\]",
        ),
        ('search = "gelu"', 'search = ""', "edits.0.search: must have a length of at least 1"),
        ('path = "model.py"', "", "edits.0.path: missing"),
    ],
)
def test_a_wrong_table_is_refused_by_name_key_and_value(old, new, message, tmp_path):
    assert old in TOML
    with pytest.raises(IdeasError, match=message) as caught:
        load(tmp_path, TOML.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "ideas.toml"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "class: optimiser",
            "klass: optimiser",
            "line 7: 'klass: optimiser' belongs to no field; did you mean class. allowed",
        ),
        ("slot: lr", "slot: lr\nslot: lr", "line 11: slot: given twice for idea 'hot'"),
        # What would be taken for the next line of the field above it.
        ("slot: lr", "slto: lr", "line 10: slto: unknown field; did you mean slot. allowed are class"),
        (
            "Mechanism: D",
            "Mechanics: d",
            "line 15: 'Mechanics: .*belongs to no field; did you mean mechanism",
        ),
        ("learns more.\n\nMechanism", "learns more.\nMechanisms", "line 14: mechanisms: unknown field; did"),
        ("slot: lr", "overrides: lr = 3", "line 10: overrides: unknown field; allowed are .*fenced block"),
        ("mean=0.1", "0.1", "line 8: forecast: found '0.1'; write it as mean=0.1"),
        ("class: optimiser\n", "", "idea 'hot': class: missing"),
        ("lr = 6e-3", "lr 6e-3", "line 17: overrides of idea 'hot': not valid TOML"),
        ("warmup = { low", "warmup { low", "line 24: tune of idea 'hot': not valid TOML"),
        ("```toml tune", "```toml", "line 24: overrides: given twice for idea 'hot'; give one ```toml block"),
        ("```python model.py", "```", "a bare ``` block; allowed are"),
        ("=======\n", "", "line 33: found '>>>>>>> REPLACE'; expected '======='"),
        (">>>>>>> REPLACE\n", "", "line 34: the block of model.py ends; expected '>>>>>>> REPLACE'"),
        ("<<<<<<< SEARCH\n", "", "line 30: found 'gelu'; expected '<<<<<<< SEARCH'"),
        ("depth = 3\n```", "depth = 3", "line 17|never closed|not valid TOML"),
        ("REPLACE\n```\n", "REPLACE\n", "line 29: the block .* is never closed; end it with ```"),
        ("## hot", "# hot", "no ideas found; write at least one `## name` heading"),
    ],
)
def test_a_wrong_section_is_refused_by_line(old, new, message, tmp_path):
    assert old in MARKDOWN
    with pytest.raises(IdeasError, match=message) as caught:
        load(tmp_path, MARKDOWN.replace(old, new, 1), "ideas.md")
    assert str(caught.value).startswith(str(tmp_path / "ideas.md"))


def test_files_that_are_not_ideas_are_refused(tmp_path):
    with pytest.raises(IdeasError, match="ends in '.json'; allowed are .toml and .md"):
        load_ideas(tmp_path / "ideas.json")
    with pytest.raises(IdeasError, match=r"gone.toml: cannot be read"):
        load_ideas(tmp_path / "gone.toml")
    (tmp_path / "latin.md").write_bytes(b"## caf\xe9")
    with pytest.raises(IdeasError, match="cannot be read as UTF-8"):
        load_ideas(tmp_path / "latin.md")
    with pytest.raises(IdeasError, match="no ideas found"):
        load(tmp_path, "")
    with pytest.raises(IdeasError, match="idea 2: name: 'hot' occurs twice"):
        load(tmp_path, TOML + TOML)


def test_the_proposer_reads_the_file_and_stops_at_the_count(tmp_path):
    path = FOLDER / "schedule.toml"
    assert [idea.name for idea in UserFile(path).propose((), 2)] == ["linear-to-zero", "cosine-to-zero"]


# --- any text at all ----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *TOML.split("\n"),
        *MARKDOWN.split("\n"),
        "```",
        "````",
        "[idea]",
        "idea = 1",
        "forecast: mean",
        "## ",
        "x:",
    ]
)
JUMBLE = st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=30).map("\n".join)


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(JUMBLE, st.text()), suffix=st.sampled_from([".toml", ".md"]))
def test_arbitrary_text_gives_ideas_or_an_ideas_error(text, suffix):
    try:
        ideas = parse_ideas(text, suffix, "fuzz")
    except IdeasError as error:
        assert str(error).startswith("fuzz: ")
    else:
        assert all(isinstance(idea, Idea) for idea in ideas)


def test_deep_nesting_is_an_ideas_error():
    with pytest.raises(IdeasError):
        parse_ideas("idea = " + "[" * 100_000, ".toml", "deep")


WORDS = st.text("abc:#`'\"\\ äπ", min_size=1, max_size=20).map(str.strip).filter(bool)
CODE = st.text("ab \n'\"\\`=\t", min_size=1, max_size=30).filter(
    lambda text: not any(line.rstrip() in MARKERS for line in text.split("\n"))
)
NUMBERS = st.floats(-5, 5, allow_nan=False)
RANGES = st.builds(
    Range, low=st.floats(0.001, 1), high=st.floats(1.5, 9), log=st.booleans(), integer=st.just(False)
) | st.builds(Range, low=st.integers(-9, 0), high=st.integers(1, 9), integer=st.just(True))
EDITS = st.builds(Edit, path=st.just("model.py"), search=CODE, replace=CODE | st.just(""))
IDEAS = st.builds(
    Idea,
    name=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    idea_class=st.sampled_from(IDEA_CLASSES),
    hypothesis=WORDS.map(lambda words: " ".join(words.split())),
    mechanism=WORDS.map(lambda words: " ".join(words.split())),
    citation=WORDS.map(lambda words: " ".join(words.split())),
    forecast=st.builds(Forecast, mean=NUMBERS, sd=st.floats(0.01, 5), p_runs=st.floats(0, 1)),
    patch=st.builds(
        Patch,
        edits=st.lists(
            st.builds(Edit, path=st.just("model.py"), search=CODE, replace=CODE | st.just("")), min_size=1
        ),
        overrides=st.dictionaries(WORDS, st.booleans() | st.integers() | NUMBERS | WORDS, max_size=3),
        slot=st.none() | st.just("lr"),
        tune=st.dictionaries(WORDS.map(lambda word: f"{word}!"), RANGES, max_size=3),
    ),
    proposer=st.just("someone"),
)


@settings(max_examples=100, deadline=None)
@given(idea=IDEAS)
def test_any_idea_survives_a_round_trip_through_both_formats(idea):
    for write, suffix in ((to_toml, ".toml"), (to_markdown, ".md")):
        (read,) = parse_ideas(write(idea), suffix, "round trip")
        assert read.id == idea.id
