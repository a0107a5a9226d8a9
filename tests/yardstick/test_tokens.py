"""Scores through a tokenizer that the run learned: the same bytes, the same text, nothing believed."""

import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.records import RunStatus
from mendel.runs import Job
from mendel.runs.local import LocalExecutor
from mendel.testbeds import BUILT_IN
from mendel.yardstick.checks import check_prefixes, check_stream
from mendel.yardstick.prefixes import ask_prefixes
from mendel.yardstick.scoring import ScoringError, Violation
from mendel.yardstick.stream import ask_stream
from mendel.yardstick.tokens import FILE, LONGEST, MOST_BYTES, read_tokenizer
from yardstick.test_scoring import scorer
from yardstick.texts import text

pytest.importorskip("tokenizers")
pytest.importorskip("torch")
GPT = BUILT_IN["gpt"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """What a short run of the built-in trainer with byte pairs leaves."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "train.bin").write_bytes("\0".join(text(i) for i in range(8)).encode())
    arguments = ["--tokens", "4096", "--set", "tokenizer=bpe", "--set", "vocab=400"]
    places = ["--data", str(folder / "train.bin"), "--out", str(folder)]
    done = subprocess.run(
        [sys.executable, str(GPT / "train.py"), *places, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def described(run_folder) -> dict:
    return json.loads((run_folder / FILE).read_text())


@pytest.fixture(scope="module")
def encode(run_folder):
    return read_tokenizer(run_folder)


def windows(count=6, length=200):
    data = np.frombuffer(text(99).encode(), np.uint8)
    return np.stack([data[start : start + length + 1] for start in range(0, 400 * count, 400)])


# --- the score ------------------------------------------------------------------------------------------


@given(
    st.binary(min_size=1, max_size=300) | st.integers(0, 900).map(lambda at: text(99)[at : at + 80].encode())
)
@settings(max_examples=60, deadline=None)
def test_any_window_has_tokens_that_give_it_back_and_begin_with_its_first_byte(encode, described, window):
    tokens = encode(window)
    assert tokens[0] == window[0]
    names = {number: name for name, number in described["model"]["vocab"].items()}
    assert "".join(names[token] for token in tokens).encode("latin-1") == window


def test_the_sum_over_tokens_is_divided_by_bytes_and_what_fills_a_row_does_not_count(encode):
    sent = windows()
    tokens = [encode(window.tobytes()) for window in sent]
    assert len({len(row) for row in tokens}) > 1, "rows of different lengths are what is tested"
    assert max(map(max, tokens)) > 255
    nats = sum((token + 1) / 100 for row in tokens for token in row[1:])
    with scorer("ByToken") as (channel, _):
        answers = ask_stream(channel, sent, encode=encode, groups={"short": sent[:3, :90]})
    assert answers.bits_per_byte == pytest.approx(nats / math.log(2) / sent[:, 1:].size, rel=1e-6)
    nats = sum((token + 1) / 100 for row in sent[:3] for token in encode(row[:90].tobytes())[1:])
    assert answers.group_bits_per_byte("short") == pytest.approx(nats / math.log(2) / (3 * 89), rel=1e-6)


@pytest.mark.parametrize(
    ("behaviour", "audit"),
    # What six windows share in a batch holds their later text too: the secret draw says which shows first.
    [("Honest", ""), ("Dropout", ""), ("BatchNorm", "batch future"), ("Unnormalised", "sums")]
    + [(name, "future") for name in ("LooksAhead", "LooksOneAhead", "Peeks")],
)
def test_the_audits_work_through_a_tokenizer(encode, behaviour, audit):
    with pytest.raises(Violation) if audit else contextlib.nullcontext() as caught:
        with scorer(behaviour) as (channel, _):
            answers = ask_stream(channel, windows(), encode=encode)
        check_stream(answers)
        with scorer(behaviour) as (channel, _):
            prefixes = ask_prefixes(channel, windows(), answers, encode=encode)
        check_prefixes(answers, prefixes)
    assert not audit or caught.value.audit in audit.split()


def test_a_run_with_byte_pairs_is_scored_from_its_folder(run_folder, tmp_path):
    sent, encode, found = windows(8), read_tokenizer(run_folder), []

    def stream(channel):
        found.append(ask_stream(channel, sent, encode=encode))
        return found[0].bits_per_byte

    def prefixes(channel):
        asked = ask_prefixes(channel, sent, found[0], encode=encode)
        assert asked.moved == 0
        return len(check_stream(found[0]) + check_prefixes(found[0], asked))

    job = Job(
        id="pairs",
        source=GPT,
        argv=("config.py",),
        out=run_folder,
        timeout=60,
        memory=4e9,
        scorer=("score.py", (stream, prefixes)),
    )
    executor = LocalExecutor(workers=1, sandbox="none")
    try:
        executor.submit(job)
        ((_, result),) = executor.wait(60)
    finally:
        executor.close()
    assert result.status is RunStatus.DONE, result.reason
    uniform = sum(len(read_tokenizer(run_folder)(w.tobytes())) - 1 for w in sent) / sent[:, 1:].size
    assert 0.3 * uniform * math.log2(400) < result.bits_per_byte < uniform * math.log2(400)


def test_a_run_without_the_file_is_asked_in_bytes(tmp_path):
    assert read_tokenizer(tmp_path) is None


# --- what a tokenizer.json may not do -----------------------------------------------------------------------


def set_key(*path_and_value):
    *path, value = path_and_value

    def change(content):
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def renumber(content):
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]


def add_token(name):
    def change(content):
        content["model"]["vocab"][name] = len(content["model"]["vocab"])

    return change


CHEATS = {
    "a normaliser that drops text": (
        set_key("normalizer", {"type": "Replace", "pattern": {"String": "e"}, "content": ""}),
        "its normalizer is not",
    ),
    "one that makes two texts equal": (set_key("normalizer", {"type": "Lowercase"}), "its normalizer is not"),
    "a pattern of its own": (
        set_key("pre_tokenizer", "pattern", {"Regex": "(a*)*b"}),
        "its pre_tokenizer is not",
    ),
    "a splitter that removes spaces": (
        set_key("pre_tokenizer", "behavior", "Removed"),
        "its pre_tokenizer is not",
    ),
    "an added token": (
        set_key("added_tokens", [{"id": 400, "content": "the", "special": True}]),
        "its added_tokens is not",
    ),
    "truncation": (set_key("truncation", {"max_length": 8}), "its truncation is not"),
    "a template": (set_key("post_processor", {"type": "ByteLevel"}), "its post_processor is not"),
    "merges at random": (set_key("model", "dropout", 0.5), "its model.dropout is not"),
    "an unknown token": (set_key("model", "unk_token", "e"), "its model.unk_token is not"),
    "a number for a switch": (set_key("model", "fuse_unk", 0), "its model.fuse_unk is not"),
    "another model": (set_key("model", "type", "Unigram"), "its model.type is not"),
    "a key nobody knows": (set_key("hint", 1), "more keys"),
    "a model key nobody knows": (set_key("model", "hint", 1), "more keys"),
    "no model": (set_key("model", None), "it has no model"),
    "bytes that are swapped": (renumber, "its first 256 tokens are not the bytes"),
    "two tokens of one number": (set_key("model", "vocab", "a", 98), "not numbered 0, 1, 2"),
    "a number that is a word": (set_key("model", "vocab", "a", "97"), "not numbered 0, 1, 2"),
    "a token beyond bytes": (add_token("\u4e00"), "a token is not of 1 to"),
    "a token without bytes": (add_token(""), "a token is not of 1 to"),
    "a whole window in a token": (add_token("x" * (LONGEST + 1)), "a token is not of 1 to"),
    "a huge vocabulary": (
        set_key("model", "vocab", {str(i): i for i in range(70_000)}),
        "its vocabulary has not 256 to 65536",
    ),
    "a vocabulary that is a list": (set_key("model", "vocab", []), "its vocabulary has not"),
    "a merge out of nowhere": (
        set_key("model", "merges", [["q", "zq"]]),
        "a merge is of tokens that are not",
    ),
    "a merge of three": (set_key("model", "merges", [["a", "b", "c"]]), "a merge is not a pair"),
    "merges without end": (
        set_key("model", "merges", [["a", "b"]] * 500),
        "its merges are not a list, or more",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_tokenizer_that_is_not_what_the_trainer_writes_is_refused(described, tmp_path, cheat):
    change, said = CHEATS[cheat]
    content = json.loads(json.dumps(described))
    change(content)
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(ScoringError) as caught:
        read_tokenizer(tmp_path)
    assert str(caught.value).startswith(f"{FILE}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value) and not caught.value.diverged


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"[]", b"7", b'{"model": 3}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ScoringError, match=r"^tokenizer\.json: it (is not JSON|has no model)$"):
        read_tokenizer(tmp_path)


def test_links_pipes_folders_and_huge_files_are_not_read(run_folder, tmp_path):
    path = tmp_path / FILE
    path.symlink_to(run_folder / FILE)
    with pytest.raises(ScoringError, match="cannot be read"):
        read_tokenizer(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ScoringError, match="not a plain file"):
        read_tokenizer(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ScoringError, match="not a plain file"):
        read_tokenizer(tmp_path)
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ScoringError, match=f"more than {MOST_BYTES} bytes"):
        read_tokenizer(tmp_path)
