"""What models of known skill score: those that know nothing, those that can copy, those in between."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from mendel.probes import SKILLS, SPANS, TWINS, make_twins, measure, probe, reaches

KINDS = [(skill, span) for skill in SKILLS for span in SPANS]


def by_position(row, i):
    """Log-probability of the byte at i, which has nothing to do with the text before it."""
    return -1.0 - (row[i] % 7) / 3 - 0.1 * i


def by_bytes_before(order):
    """An n-gram model: what it says of a byte follows from the last `order` bytes."""
    return lambda row, i: -1.0 - (hash((7, bytes(row[max(0, i - order) : i + 1]))) % 1000) / 100


def by_whole_row(row, i):
    """A model that sees everything and understands nothing."""
    return -1.0 - (int.from_bytes(bytes(row[: i + 1]), "big") * 48271 % 65521) / 10_000


def copier(row, i):
    """Continues the longest earlier match of the bytes before, as a perfect induction head would."""
    text, before = bytes(row[: i + 1]), bytes(row[:i])
    for size in range(i, 0, -1):
        found = before.rfind(before[-size:], 0, i - 1)
        if found >= 0:
            return math.log(0.9) if before[found + size] == text[i] else math.log(0.1 / 255)
    return -math.log(256)


def asked(model):
    """What the wire would give: log-probabilities of tokens[:, 1:]."""
    return lambda tokens: np.array(
        [[model(row.tolist(), i) for i in range(1, len(row))] for row in tokens], np.float32
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}/{kind[1]}")
@pytest.mark.parametrize("model", [lambda row, i: -math.log(256), by_position, by_bytes_before(1)])
def test_who_does_not_read_the_prompt_is_exactly_at_chance(kind, model):
    found = measure(asked(model), make_twins(*kind, 5))
    assert (found.accuracy, found.advantage) == (0.5, 0.0)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**31))
def test_who_reads_all_and_understands_nothing_is_at_chance_within_the_binomial(kind, seed):
    found = measure(asked(by_whole_row), make_twins(*kind, seed))
    low, high = binom.interval(1 - 1e-5, TWINS, 0.5)
    assert low / TWINS <= found.accuracy <= high / TWINS


def test_many_guesses_average_to_chance():
    kinds = [(skill, 32, seed) for skill in SKILLS for seed in range(20)]
    right = sum(measure(asked(by_whole_row), make_twins(*kind)).accuracy * TWINS for kind in kinds)
    low, high = binom.interval(1 - 1e-5, TWINS * len(kinds), 0.5)
    assert low <= right <= high


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("skill", ["copying", "induction", "recall", "identifiers"])
def test_a_perfect_copier_is_always_right_where_copying_is_what_it_takes(skill, span):
    found = measure(asked(copier), make_twins(skill, span, 5))
    assert found.accuracy == 1.0 and found.advantage > 5


@pytest.mark.parametrize("skill", ["brackets", "arithmetic"])
def test_a_perfect_copier_can_neither_count_brackets_nor_add(skill):
    questions = [twins for seed in range(10) for twins in make_twins(skill, 32, seed)]
    low, high = binom.interval(1 - 1e-5, len(questions), 0.5)
    found = measure(asked(copier), tuple(questions))
    assert low <= found.accuracy * len(questions) <= high


def test_closing_what_was_opened_last_is_right_half_of_the_time():
    def closes_last(row, i):
        opened = [sign for sign in bytes(row[:i]).decode() if sign in "([{"]
        right = opened and {"(": ")", "[": "]", "{": "}"}[opened[-1]] == chr(row[i])
        return math.log(0.9 if right else 0.001)

    found = measure(asked(closes_last), make_twins("brackets", 64, 5))
    assert found.accuracy == 0.5 and found.advantage == pytest.approx(0, abs=1e-5)


def test_the_advantage_is_in_bits_and_a_tie_counts_half():
    def a_little(row, i):
        return copier(row, i) / (math.log(0.9) - math.log(0.1 / 255)) * math.log(2)

    found = measure(asked(a_little), make_twins("induction", 32, 5))
    assert found.advantage == pytest.approx(1.0, abs=1e-5)


def test_how_common_the_answers_are_does_not_drown_a_weak_skill():
    def biased(row, i):
        return 0.05 * copier(row, i) + 3 * by_bytes_before(0)(row, i)

    found = measure(asked(biased), make_twins("recall", 32, 5))
    assert found.accuracy == 1.0
    assert found.advantage == pytest.approx(0.05 * (math.log2(0.9) - math.log2(0.1 / 255)), rel=1e-3)


# --- what a model cannot look back on -----------------------------------------------------------------------


def within(context, model):
    """A model that starts afresh at each multiple of its context, as score.py does."""

    def limited(row, i):
        start = (i - 1) // context * context
        return model(row[start:], i - start)

    return limited


@pytest.mark.parametrize(
    ("context", "spans"), [(31, ()), (32, (32,)), (63, (32,)), (64, (32, 64)), (160, SPANS)]
)
def test_a_span_beyond_the_context_is_not_scored_as_failed(context, spans):
    found = probe(asked(within(context, by_whole_row)), 3)
    assert set(found) == {f"{skill}/{span}" for skill, span in KINDS}
    for skill, span in KINDS:
        assert (found[f"{skill}/{span}"] is not None) == (span in spans)


def test_no_question_is_sent_that_cannot_be_seen():
    sent = []

    def ask(tokens):
        sent.append(tokens.shape)
        return asked(within(32, by_whole_row))(tokens)

    probe(ask, 3)
    assert max(columns for _, columns in sent) == 65, "only the look at the next span"
    assert len(sent) == 2 + len(SKILLS)


def test_rounding_is_not_taken_for_sight():
    jitter = np.random.default_rng(0)

    def ask(tokens):
        return -5 + jitter.uniform(0, 4e-6, (len(tokens), tokens.shape[1] - 1))

    assert not reaches(ask, 32, 1)
