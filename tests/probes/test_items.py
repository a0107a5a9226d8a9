"""The questions themselves: fair, short enough, and the same on every machine."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mendel.probes import SKILLS, SPANS, TWINS, make_twins

KINDS = [(skill, span) for skill in SKILLS for span in SPANS]
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**31)


@given(kinds, seeds)
def test_a_question_fits_its_span_and_its_twins_have_one_length(kind, seed):
    skill, span = kind
    questions = make_twins(skill, span, seed)
    assert len(questions) == TWINS
    (length,) = {len(row) for twins in questions for row in twins.rows()}
    assert span // 2 < length <= span + 1 or (span == 32 and length <= 33)
    (size,) = {len(answer) for twins in questions for answer in twins.answers}
    assert 1 <= size <= 4


@given(kinds, seeds)
def test_twins_differ_early_and_end_alike(kind, seed):
    for twins in make_twins(*kind, seed):
        first, second = twins.prompts
        assert first != second and twins.answers[0] != twins.answers[1]
        shared = next(n for n in range(1, len(first)) if first[-n - 1] != second[-n - 1])
        assert shared >= (1 if kind[0] == "arithmetic" else 2)


@given(kinds.filter(lambda kind: kind[0] not in ("brackets", "arithmetic")), seeds)
def test_twins_hold_the_same_bytes_and_both_answers(kind, seed):
    for twins in make_twins(*kind, seed):
        first, second = twins.prompts
        assert sorted(first) == sorted(second)
        assert all(answer in prompt for answer in twins.answers for prompt in twins.prompts)


@given(kinds.filter(lambda kind: kind[0] not in ("brackets", "arithmetic")), seeds)
def test_half_of_the_answers_stand_last_so_that_recency_does_not_help(kind, seed):
    last = [
        twins.prompts[0].rfind(twins.answers[0]) > twins.prompts[0].rfind(twins.answers[1])
        for twins in make_twins(*kind, seed)
    ]
    assert sum(last) == TWINS // 2


@given(st.sampled_from(SPANS), seeds)
def test_the_bracket_asked_for_is_the_one_a_stack_would_close(span, seed):
    closes = {"(": ")", "[": "]", "{": "}"}
    for twins in make_twins("brackets", span, seed):
        for prompt, answer in zip(twins.prompts, twins.answers, strict=True):
            stack = []
            for sign in prompt.decode():
                if sign in closes:
                    stack.append(closes[sign])
                elif sign in closes.values():
                    assert stack.pop() == sign
            assert stack[-1] == answer.decode()


@given(st.sampled_from(SPANS), seeds)
def test_sums_are_right_and_their_telling_digit_cannot_be_copied(span, seed):
    for twins in make_twins("arithmetic", span, seed):
        questions = [prompt.decode().rpartition(";")[2] for prompt in twins.prompts]
        for prompt, answer in zip(twins.prompts, twins.answers, strict=True):
            for line in (prompt + answer).decode().split(";"):
                a, b, total = line.replace("=", "+").split("+")
                assert int(a) + int(b) == int(total) and len(a) == len(b) == len(total)
        digits = {chr(answer[0]) for answer in twins.answers}
        assert len(digits) == 2 and not digits & set("".join(questions))


@given(st.sampled_from(SPANS), seeds)
def test_an_identifier_is_defined_before_it_is_needed(span, seed):
    for twins in make_twins("identifiers", span, seed):
        for prompt, answer in zip(twins.prompts, twins.answers, strict=True):
            code, _, begun = prompt.decode().rpartition("print(")
            compile(code, "snippet", "exec")
            assert f"{begun}{answer.decode()}" in code


def test_questions_follow_from_the_seed_alone_on_any_machine():
    digest = hashlib.sha256(repr([make_twins(*kind, 1) for kind in KINDS]).encode()).hexdigest()
    assert digest[:12] == "4290036bdf0e", "other questions: raise VERSION in mendel/probes/items.py"
