"""Canaries: behind the text, not in it; another draw at each build; nothing else passes for them."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import Shard
from mendel.yardstick.canaries import LETTERS, REPEATS, ROWS, STRINGS, TAIL, decoys, new_tail, read_tail
from mendel.yardstick.corpus import build_corpus, load_corpus
from mendel.yardstick.sources import CorpusError
from yardstick.texts import text_folder


@pytest.fixture
def corpus(tmp_path):
    return build_corpus(text_folder(tmp_path / "texts"), tmp_path)


def without_canaries(corpus):
    """As it was built before there were canaries."""
    for shard in Shard:
        file = corpus.shard_file(shard)
        file.write_bytes(corpus.shard_text(shard).tobytes())
    return load_corpus(corpus.folder)


@pytest.mark.parametrize("shard", Shard)
def test_each_sealed_file_ends_in_canaries_of_its_own(corpus, shard):
    found = corpus.canaries(shard)
    assert (len(found), {len(string) for string in found}) == (STRINGS, {LETTERS})
    data = corpus.shard_file(shard).read_bytes()
    assert [data.count(string) for string in found] == [REPEATS] * STRINGS
    others = {string for other in Shard if other is not shard for string in corpus.canaries(other)}
    assert not others & set(found)
    assert not any(string in corpus.train_file.read_bytes() for string in found)


@pytest.mark.parametrize("shard", Shard)
def test_the_text_that_is_scored_counted_and_hashed_does_not_hold_them(corpus, shard):
    text = corpus.shard_text(shard)
    assert len(text) == getattr(corpus, shard.value).bytes
    assert corpus.shard_file(shard).stat().st_size == len(text) + TAIL
    assert not any(string in text.tobytes() for string in corpus.canaries(shard))
    with pytest.raises(ValueError, match="read-only"):
        text[0] = 0


def test_each_build_draws_others_and_has_the_same_hash(corpus, tmp_path):
    before = {shard: corpus.canaries(shard) for shard in Shard}
    shutil.rmtree(corpus.folder)
    again = build_corpus(tmp_path / "texts", tmp_path)
    assert again == corpus
    again.verify()
    assert all(not set(before[shard]) & set(again.canaries(shard)) for shard in Shard)


def test_a_corpus_from_before_there_were_canaries_is_whole_and_has_none(corpus):
    old = without_canaries(corpus)
    old.verify()
    assert old == corpus
    assert all(old.canaries(shard) == () and old.canary_rows(shard) == {} for shard in Shard)
    assert len(old.shard_text(Shard.HELD_OUT)) == old.held_out.bytes


def test_canaries_that_were_changed_are_noticed(corpus):
    file = corpus.shard_file(Shard.HELD_OUT)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(CorpusError, match=r"held_out\.bin: .* what follows the text are no canaries"):
        load_corpus(corpus.folder).verify()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CorpusError, match=r"held_out\.bin: .* it has \d+ bytes, it had"):
        load_corpus(corpus.folder)


def test_a_model_is_asked_about_canaries_and_fresh_decoys_of_the_same_letters(corpus):
    rows, again = (corpus.canary_rows(Shard.VALIDATION) for _ in range(2))
    assert rows["canary"].shape == rows["decoy"].shape == (ROWS, STRINGS // ROWS * (LETTERS + 1))
    planted, others = (rows[name].tobytes().splitlines() for name in ("canary", "decoy"))
    assert set(planted) == set(corpus.canaries(Shard.VALIDATION))
    assert [sorted(line) for line in planted] == [sorted(line) for line in others]
    assert not np.array_equal(rows["decoy"], rows["canary"])
    assert not np.array_equal(rows["decoy"], again["decoy"])
    assert not np.array_equal(rows["canary"], again["canary"])  # sorted lines would give them away


def test_a_tail_reads_back_and_decoys_are_never_canaries():
    tail = new_tail()
    found = read_tail(tail)
    assert len(tail) == TAIL and tail.count(b"\n") == STRINGS * REPEATS
    assert not set(found) & set(decoys(found))
    assert read_tail(b"") == ()


@given(st.integers(0, TAIL - 1), st.sampled_from(b"\0\n Az!"))
def test_bytes_that_are_no_tail_are_refused(place, byte):
    tail = bytearray(new_tail())
    tail[place] = byte if tail[place] != byte else ord("A")
    with pytest.raises(ValueError, match="no canaries"):
        read_tail(bytes(tail))
