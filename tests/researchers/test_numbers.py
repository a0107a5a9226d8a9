"""Every number of a text must be one of the evidence, or a rounding of one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.researchers.numbers import intervals_in, numbers_in, swapped, unsupported

EVIDENCE = [1.4179, 1.309, 1.552, 6, 0.0312, 12_500, 0.05, 2, 0.3, -0.04]


@pytest.mark.parametrize(
    "text",
    [
        "CM 1.42 (1.31 to 1.55) over 6 pairs",
        "It needs 42 % more compute without it",
        "a gain of 0.031 bits per byte, at the 5 % level",
        "six pairs, twice",
        "12,500 tokens; 1.25e4 of them",
        "`lr-6e3` and rope-2 at rung0 are names",
        "No number at all.",
        "it lost 0.3",
        "it lost \u22120.04 or -4 %",
        "CM1.42 or x1.42",
    ],
)
def test_numbers_of_the_evidence_and_their_roundings_pass(text):
    assert unsupported(text, EVIDENCE) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("CM 1.43", ["1.43"]),
        ("CM 1.418 (1.30 to 1.55)", ["1.30"]),
        ("over seven pairs", ["seven"]),
        ("a gain of 43 %", ["43 %"]),
        ("12,501 tokens", ["12,501"]),
        ("0.0313 bits", ["0.0313"]),
        ("three times in 6", ["three"]),
        ("1e6 tokens", ["1e6"]),
        ("14.2", ["14.2"]),
        (".5 and 0.6", [".5", "0.6"]),
        ("a gain of -42 %", ["-42 %"]),
        ("it lost \u22120.3", ["\u22120.3"]),
        ("`9.87` and `CM 9.87`", ["9.87", "9.87"]),
        ("CM9.87 or x9.87", ["9.87", "9.87"]),
        ("\uff19.\uff18\uff17, or \u2468", ["9.87", "9"]),
        ("1e999999999 and 9.00000000000000000000000000000000001", ["1e999999999", "9." + "0" * 34 + "1"]),
    ],
)
def test_other_numbers_are_found(text, wrong):
    assert unsupported(text, EVIDENCE) == wrong


def test_names_of_ideas_may_have_digits():
    assert unsupported("beta2-high 99 and 77", [], ["beta2-high 99"]) == ["77"]


def test_a_name_hides_no_number_but_its_own():
    assert unsupported("CM 42 and 4e5", [4], ["42", "e5"]) == ["42", "4e5"]


@pytest.mark.parametrize("text", ["(1.55 to 1.31)", "[1.55, 1.31]", "1.552-1.309"])
def test_an_interval_told_with_its_ends_swapped_is_found(text):
    ends = list(intervals_in({"cm": {"value": 1.4179, "low": 1.309, "high": 1.552}, "rest": [{"low": None}]}))
    assert ends == [(1.309, 1.552)]
    assert swapped(text, ends)
    assert not swapped("1.31 to 1.55, and from 2.0 to 1.31", ends)


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_any_rounding_of_a_number_is_supported(value, digits):
    assert unsupported(f"it was {value:.{digits}f}.", [value]) == []


@given(st.floats(0.001, 1e5), st.integers(1, 4), st.integers(1, 9))
def test_a_number_that_is_off_in_a_digit_that_is_shown_is_found(value, digits, off):
    shown = round(value, digits) + off * 10**-digits
    near = {f"{value:.{digits}f}", f"{math.nextafter(value, 0):.{digits}f}"}
    text = f"{shown:.{digits}f}"
    # One off may be the other way to round a half.
    if text not in near and abs(value * 10**digits % 1 - 0.5) > 1e-6:
        assert unsupported(text, [value]) == [text]


def test_numbers_are_found_wherever_they_are_in_json():
    found = list(numbers_in({"a": [1, {"b": 2.5}], "c": "of 7 runs", "d": True, "e": None}))
    assert found == [1.0, 2.5, 7.0]
