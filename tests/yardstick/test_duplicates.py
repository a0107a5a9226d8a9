"""Near duplicates share a group; unrelated texts do not; similarity is estimated rightly."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mendel.yardstick.duplicates import BANDS, ROWS, _words, duplicate_groups, signature
from yardstick.texts import edited, text


def shingles(document: str) -> set[tuple[str, ...]]:
    words = document.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def test_a_lightly_edited_copy_shares_a_group_and_an_unrelated_text_does_not():
    original = text(1)
    documents = [original, edited(original, 2, changes=20), text(3), text(4)]
    groups = duplicate_groups([d.encode() for d in documents])
    assert groups[0] == groups[1]
    assert len({groups[0], groups[2], groups[3]}) == 3


def test_groups_are_connected_through_others():
    chain = [text(1)]
    for step in range(8):
        chain.append(edited(chain[-1], step, changes=40))
    first, last = shingles(chain[0]), shingles(chain[-1])
    assert len(first & last) / len(first | last) < 0.3
    assert len(set(duplicate_groups([d.encode() for d in chain]).tolist())) == 1


def test_white_space_case_and_punctuation_do_not_hide_a_copy():
    original = text(1, words=200)
    disguised = original.upper().replace(" ", ",\n\t ")
    assert len(set(duplicate_groups([original.encode(), disguised.encode()]).tolist())) == 1


def test_texts_without_words_and_short_texts_stand_alone():
    documents = [b"+++ ---", b"((()))", b"one", b"two words", b"one"]
    groups = duplicate_groups(documents).tolist()
    assert groups[2] == groups[4]
    assert len(set(groups)) == 4
    assert len(duplicate_groups([])) == 0
    assert len(set(duplicate_groups([b"!", b"?"]).tolist())) == 2


def test_scripts_without_spaces_have_words():
    original = "".join(chr(0x4E00 + (i * i * 7919) % 5000) for i in range(3000))
    copy = original[:1000] + "\u4e00\u4e01" + original[1000:]
    other = "".join(chr(0x4E00 + (i * i * 6007) % 5000) for i in range(3000))
    groups = duplicate_groups([t.encode() for t in (original, copy, other)]).tolist()
    assert groups[0] == groups[1] != groups[2]


def test_a_shift_of_a_long_text_does_not_hide_a_copy():
    long = text(1, words=400_000)
    assert len(long) > 3 << 20
    groups = duplicate_groups([long.encode(), ("a new first line\n" + long).encode()])
    assert groups[0] == groups[1]


def test_a_shared_ending_alone_makes_no_copy():
    ending = text(0, words=4000)
    groups = duplicate_groups([f"{text(seed, words=40_000)} {ending}".encode() for seed in (1, 2)])
    assert groups[0] != groups[1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 400))
def test_signatures_agree_as_often_as_the_shingle_sets_overlap(seed, changes):
    original = text(seed)
    copy = edited(original, seed, changes)
    a, b = shingles(original), shingles(copy)
    jaccard = len(a & b) / len(a | b)
    agreement = float(np.mean(signature(original.encode()) == signature(copy.encode())))
    sd = np.sqrt(jaccard * (1 - jaccard) / (BANDS * ROWS))
    assert agreement == pytest.approx(jaccard, abs=5 * sd + 0.01)


@example("ab ba AB \u00e9\u00e9 a\u00e9b")
@given(st.text(max_size=60) | st.text("abB \u00e9_", max_size=60))
def test_words_are_what_a_regular_expression_finds(document):
    data = document.encode()
    expected = re.findall(rb"[a-z0-9_]+|[\xc0-\xff][\x80-\xbf]*", data.lower())
    hashes = _words(data).tolist()
    assert len(hashes) == len(expected)
    names = {}
    for word, number in zip(expected, hashes, strict=True):
        assert names.setdefault(word, number) == number
    assert len(set(names.values())) == len(names)
