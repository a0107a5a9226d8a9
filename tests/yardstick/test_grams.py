"""Every run of a text is found wherever it stands, and nothing else is."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.yardstick import grams
from mendel.yardstick.grams import SIZE, Known, block_hashes, hashes, visible_copies
from yardstick.texts import text

TEXT = text(1, words=3000).encode()
KNOWN = Known(hashes(np.frombuffer(TEXT, np.uint8)))


def array(data: bytes):
    return np.frombuffer(data, np.uint8)


@given(st.binary(max_size=300), st.integers(0, len(TEXT) - SIZE), st.binary(max_size=300))
def test_a_run_is_found_at_its_place(before, start, after):
    data = before + TEXT[start : start + SIZE] + after
    assert len(before) in KNOWN.has(hashes(array(data)))


@given(st.binary(max_size=500))
def test_other_bytes_are_not_found(data):
    found = KNOWN.has(hashes(array(data)))
    assert all(data[at : at + SIZE] in TEXT for at in found)


@given(st.binary(max_size=4 * SIZE))
def test_a_hash_depends_on_its_run_alone(data):
    found = hashes(array(data))
    assert len(found) == max(0, len(data) - SIZE + 1)
    assert [int(hashes(array(data[i : i + SIZE]))[0]) for i in range(len(found))] == found.tolist()
    assert np.array_equal(block_hashes(array(data)), found[::SIZE])


def test_windows_join_without_a_seam():
    data = np.random.default_rng(0).integers(0, 256, 3 * grams._WINDOW + 100, np.uint8)
    found = hashes(data)
    for at in (grams._WINDOW - 1, grams._WINDOW, 2 * grams._WINDOW + 5, len(found) - 1):
        assert found[at] == hashes(data[at : at + SIZE])[0]


def test_runs_of_another_text_are_taken_out():
    other = TEXT[500:900] + b"something else"
    left = KNOWN.without([hashes(array(other))])
    assert list(left.has(hashes(array(TEXT[500:900])))) == []
    assert len(left) == len(KNOWN) - (400 - SIZE + 1)
    assert len(Known(np.empty(0, np.uint64)).has(hashes(array(TEXT)))) == 0


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "copy").write_bytes(
        os.urandom(1000) + TEXT[77 : 77 + 2 * SIZE - 1] + os.urandom(1000)
    )
    (tmp_path / "short").write_bytes(TEXT[: SIZE - 1])
    (tmp_path / "other").write_text(text(2))
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "copy")
    (tmp_path / "twin").hardlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def test_files_with_a_copy_are_found_and_no_others(folder):
    found = visible_copies(KNOWN, [str(folder), str(folder / "nowhere")])
    assert [(copy.path, copy.pieces) for copy in found.copies] == [(str(folder / "deep" / "copy"), 1)]
    assert (found.files, found.complete) == (2, True)


def test_a_search_ends_when_its_time_is_over_and_says_so(folder):
    assert not visible_copies(KNOWN, [str(folder)], seconds=0.0).complete


def test_it_runs_alone_where_there_is_no_mendel(folder, tmp_path):
    np.save(tmp_path / "known.npy", KNOWN.hashes)
    command = [sys.executable, "-I", grams.__file__, str(tmp_path / "known.npy"), "60", str(folder / "deep")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["copies"] == [[str(folder / "deep" / "copy"), 1]]
