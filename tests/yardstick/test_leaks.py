"""Sealed text is found in a patch and in what a run left, however it is written; honest code passes."""

import base64
import bz2
import codecs
import gzip
import importlib.util
import lzma
import os
import pickle
import time
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mendel.records import Shard
from mendel.yardstick.corpus import build_corpus
from mendel.yardstick.grams import SIZE
from mendel.yardstick.leaks import (
    MOST_SPANS,
    OPAQUE,
    PIECE,
    audit_text,
    find_overlap,
    opaque,
    scan_output,
    sealed_text,
)
from yardstick.texts import text, text_folder

ROOT = Path(__file__).parents[2]
CATALOG = sorted((ROOT / "mendel" / "ideas" / "catalog").glob("*.toml"))
TRAINER = sorted((ROOT / "mendel" / "testbeds" / "gpt").glob("*.py"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return build_corpus(text_folder(folder / "texts"), folder)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    if any(importlib.util.find_spec(name) is None for name in ("sympy", "networkx", "mpmath")):
        pytest.skip("the default corpus needs sympy, networkx and mpmath")
    return build_corpus("default", tmp_path_factory.mktemp("default"))


def sealed(corpus, shard=Shard.HELD_OUT, start=3000, size=600) -> bytes:
    return corpus.shard_text(shard)[start : start + size].tobytes()


# --- pieces -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [3, MOST_SPANS + 10])
def test_a_piece_between_other_texts_in_binary_data_is_found(corpus, others):
    """Weights with long comments, say: a few texts are looked up one by one, many all at once."""
    other = sealed(corpus, size=600)[::-1][: SIZE + 10]
    data = b"\xff".join([other] * others + [sealed(corpus)] + [other] * others)
    found = find_overlap(data, corpus)
    assert found.leak and found.longest == 600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.binary(max_size=200), st.sampled_from(list(Shard)), st.integers(0, 15_000), st.integers(PIECE, 1000),
    st.binary(max_size=200),
)  # fmt: skip
def test_a_planted_piece_is_found_wherever_it_stands(corpus, before, shard, start, size, after):
    piece = sealed(corpus, shard, start, size)
    found = find_overlap(before + piece + after, corpus)
    assert found.leak and found.how == ""
    assert found.longest >= len(piece)
    assert corpus.shard_text(found.shard)[found.offset : found.offset + len(piece)].tobytes() in (
        before + piece + after
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.integers(0, 300_000), st.integers(0, 20_000))
def test_training_text_is_never_a_hit(corpus, start, size):
    assert find_overlap(corpus.train_text()[start : start + size].tobytes(), corpus) is None


def test_training_text_of_the_default_corpus_is_no_hit_and_every_sealed_kilobyte_is(default):
    train = default.train_text()
    for start in range(0, len(train) - 200_000, len(train) // 5):
        assert find_overlap(train[start : start + 100_000].tobytes(), default) is None
    missed = total = 0
    for shard in Shard:
        data = default.shard_text(shard).tobytes()
        for start in range(0, len(data) - 1000, 75_000):
            found = find_overlap(data[start : start + 1000], default)
            total, missed = total + 1, missed + (found is None or not found.leak)
    assert total > 25 and missed == 0


def test_a_short_piece_or_one_that_says_nothing_is_no_leak(corpus, tmp_path):
    found = find_overlap(b"x" + sealed(corpus, size=PIECE - 10) + b"y", corpus)
    assert found is not None and not found.leak
    folder = text_folder(tmp_path / "texts", count=60)
    for path in folder.iterdir():
        path.write_text(path.read_text() + "\n" + "=" * (500 + int(path.stem)))
    other = build_corpus(folder, tmp_path)
    assert find_overlap(b"=" * 5000, other) is None


def test_many_short_pieces_are_a_leak(corpus):
    data = sealed(corpus, size=10_000)
    pieces = [data[start : start + 100] for start in range(0, 3000, 300)]
    assert find_overlap(b"\n~~\n".join(pieces), corpus).leak


# --- what text can be hidden in ---------------------------------------------------------------------


def in_literals(data: bytes) -> bytes:
    parts = [data[i : i + 40].decode() for i in range(0, len(data), 40)]
    return ("text = (" + " +\n  # more\n ".join(map(repr, parts)) + ")").encode()


def in_a_list(data: bytes) -> bytes:
    return repr([data[i : i + 30].decode() for i in range(0, len(data), 30)]).encode()


def in_lines_of_base64(data: bytes) -> bytes:
    return b'WEIGHTS = """\n' + base64.encodebytes(zlib.compress(data)) + b'"""\n'


def as_tokens(kind: str):
    return lambda data: np.frombuffer(data, np.uint8).astype(kind).tobytes()


HIDDEN = {
    "plain": lambda data: data,
    "literals": in_literals,
    "list of strings": in_a_list,
    "escapes": lambda data: ("x = '" + "".join(f"\\x{byte:02x}" for byte in data) + "'").encode(),
    "reversed": lambda data: data[::-1],
    "rot13": lambda data: codecs.encode(data.decode(), "rot13").encode(),
    "base64": lambda data: b"TABLE = '" + base64.b64encode(data) + b"'",
    "urlsafe base64": lambda data: base64.urlsafe_b64encode(data[::-1]),
    "compressed base64": in_lines_of_base64,
    "hex": lambda data: b'x = "' + data.hex().encode() + b'"',
    "base85": lambda data: b"x = '" + base64.b85encode(bz2.compress(data)) + b"'",
    "ascii85": lambda data: base64.a85encode(data),
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "raw deflate": lambda data: zlib.compress(data, wbits=-15),
    "inside a pickle": lambda data: pickle.dumps({"state": [1.0, zlib.compress(data)]}),
    "numbers": lambda data: f"TABLE = {list(data)}".encode(),
    "hexadecimal numbers": lambda data: ",".join(map(hex, data)).encode(),
    "uint16": as_tokens("<u2"),
    "int64": as_tokens("<i8"),
    "float32": as_tokens("<f4"),
    "big-endian int32": as_tokens(">i4"),
    "twice": lambda data: base64.b64encode(base64.b64encode(gzip.compress(data))),
}


@pytest.mark.parametrize("way", HIDDEN)
def test_hidden_text_is_found(corpus, way):
    hidden = HIDDEN[way](sealed(corpus, size=2000))
    found = find_overlap(hidden, corpus)
    assert found is not None and found.leak
    assert (found.how == "") == (way == "plain")
    fair = HIDDEN[way](text(4711, words=200)[:2000].encode())
    assert find_overlap(fair, corpus) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=3000) | st.text(max_size=2000).map(str.encode))
def test_any_bytes_can_be_searched(corpus, data):
    find_overlap(data, corpus)
    opaque(data.decode("utf-8", "replace"))


SLOW = {
    "bombs": lambda: zlib.compress(bytes(1 << 24), 9) * 40,
    "many runs": lambda: b" ".join(base64.b64encode(os.urandom(66)) for _ in range(1500)),
    "escaped quotes": lambda: b'"""' + b'\\"""' * 200_000,
    "open quotes": lambda: b"'\n\"" * 200_000,
    "short literals": lambda: b"'a', " * 200_000,
    "gaps": lambda: b"'a'" + b" + " * 200_000 + b"x",
    "digits": lambda: b"7" * 500_000,
    "numbers": lambda: b"7," * 200_000 + b"x",
    "names": lambda: b"0x" * 200_000,
}


@pytest.mark.parametrize("way", SLOW)
def test_data_made_to_take_long_is_searched_in_bounded_time(corpus, way):
    data = SLOW[way]()
    began = time.process_time()
    assert find_overlap(data, corpus) is None
    opaque(data.decode("latin-1"))
    assert time.process_time() - began < 20


# --- patches ----------------------------------------------------------------------------------------


def test_a_patch_with_sealed_text_is_stopped_and_the_reason_says_where_from(corpus):
    audit = audit_text(in_lines_of_base64(sealed(corpus)).decode(), corpus)
    assert (audit.name, audit.passed) == ("leak", False)
    assert audit.reason.startswith("the patch holds 600 bytes in a row of held_out at 3000 (read as ")
    assert audit.evidence["shard"] == "held_out"


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.stem)
def test_no_idea_of_the_catalog_is_stopped(default, path):
    for idea in tomllib.loads(path.read_text())["idea"]:
        new = "\n".join(edit["replace"] for edit in idea.get("edits", ()))
        audit = audit_text(new, default)
        assert audit.passed and audit.evidence["opaque"] == 0, (idea["name"], audit)


def test_the_trainer_itself_is_let_through(default):
    for path in TRAINER:
        assert audit_text(path.read_text(), default).passed, path


SENSELESS = {
    "base64": f"W = '{base64.b64encode(os.urandom(1500)).decode()}'",
    "lines": "W = '''\n" + "\n".join(os.urandom(20).hex() for _ in range(60)) + "\n'''",
    "concatenated": "W = (" + " +\n".join(repr(os.urandom(12).hex()) for _ in range(90)) + ")",
    "bytes": f"W = {os.urandom(1000)!r}",
    "a number": f"W = {int.from_bytes(os.urandom(900), 'big')}",
    "a name": f"w_{os.urandom(900).hex()} = 1",
    "a comment": f"x = 1  # {os.urandom(900).hex()}",
    "a table": f"W = {np.random.default_rng(0).normal(size=300).round(5).tolist()}",
}


@pytest.mark.parametrize("way", SENSELESS)
def test_long_literals_without_sense_are_stopped(corpus, way):
    audit = audit_text(SENSELESS[way], corpus)
    assert not audit.passed and "without visible sense" in audit.reason


def test_code_that_people_write_has_no_such_literals():
    for path in [*(ROOT / "mendel").rglob("*.py"), *Path(np.__file__).parent.glob("lib/*.py")]:
        assert opaque(path.read_text()) <= OPAQUE, path


# --- what a run left --------------------------------------------------------------------------------


def test_text_in_any_file_of_a_run_is_found_and_links_are_not_followed(corpus, tmp_path):
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "model.npy").write_bytes(np.random.default_rng(0).normal(size=30_000).astype("<f4").tobytes())
    (out / "train.log").write_text("step 1: loss 2.3\n")
    (out / "secret").symlink_to(corpus.shard_file(Shard.HELD_OUT))
    (out / "folder").symlink_to(corpus.sealed_folder)
    os.mkfifo(out / "fifo")
    audit = scan_output(out, corpus)
    assert audit.passed and audit.evidence["not_searched"] == 0
    (out / "deep" / "a\x1b[31m\nb.npy").write_bytes(as_tokens("<i4")(sealed(corpus)))
    audit = scan_output(out, corpus)
    assert not audit.passed
    assert audit.reason.startswith("deep/a?[31m?b.npy holds 600 bytes in a row of held_out")


def test_a_canary_in_a_log_is_proof(corpus, tmp_path):
    canary = corpus.canaries(Shard.VALIDATION)[3].decode()
    (tmp_path / "train.log").write_text(f"loss 2.1 {canary[:20]}\n")
    assert scan_output(tmp_path, corpus).passed
    (tmp_path / "train.log").write_text(f"loss 2.1 {canary}\n")
    audit = scan_output(tmp_path, corpus)
    assert not audit.passed
    assert audit.reason == "train.log holds a canary of validation: its file was read"
    (tmp_path / "train.log").write_bytes(
        base64.b64encode(b"some text before it, and then: " * 3 + canary.encode())
    )
    assert "canary of validation (read as base64)" in scan_output(tmp_path, corpus).reason


def test_what_is_too_much_to_search_is_counted(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("mendel.yardstick.leaks.MOST_BYTES", 1000)
    (tmp_path / "small").write_text(text(1, words=10))
    (tmp_path / "large").write_bytes(sealed(corpus, size=2000))
    audit = scan_output(tmp_path, corpus)
    assert audit.passed and audit.evidence["not_searched"] == 1
    assert audit.reason.endswith("1 were not searched")


def test_the_lookup_is_made_once(corpus):
    assert sealed_text(corpus) is sealed_text(corpus)
