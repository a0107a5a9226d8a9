"""What the built-in trainer reads, in which order, and as which tokens."""

import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.testbeds import BUILT_IN

torch = pytest.importorskip("torch")


def load_trainer() -> SimpleNamespace:
    """The trainer's data modules, which import each other by bare name; those names are not left behind."""
    names = ("config", "tokenizer", "sources", "data")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(BUILT_IN["gpt"]))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(BUILT_IN["gpt"]))
        for name in names:
            del sys.modules[name]
            if before[name] is not None:
                sys.modules[name] = before[name]


gpt = load_trainer()
Reader = gpt.data.Reader
CONFIG = replace(gpt.config.Config(), context=16, batch=8)
SOURCES = ("code", "docs", "logs")
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="byte pairs need the extra [data]"
)


def document(number: int, words: int) -> bytes:
    """Text of words that name its source, so that a window tells where it comes from."""
    draw = random.Random(number)
    name = SOURCES[number % 3]
    return " ".join(f"{name}{draw.randrange(500)}" for _ in range(words)).encode()


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Path:
    """Sixty documents of three sources, the third the smallest."""
    folder = tmp_path_factory.mktemp("data")
    documents = [document(i, 30 if i % 3 == 2 else 60 + i) for i in range(60)]
    (folder / "train.bin").write_bytes(b"\0".join(documents))
    listed = {"sources": SOURCES, "documents": [i % 3 for i in range(60)]}
    (folder / "sources.json").write_text(json.dumps(listed))
    return folder / "train.bin"


def text_file(folder: Path, documents: list[bytes]) -> Path:
    path = folder / "train.bin"
    path.write_bytes(b"\0".join(documents))
    return path


def steps(reader, count: int) -> np.ndarray:
    """Whole windows of `count` steps, (count, B, T + 1)."""
    batches = [reader() for _ in range(count)]
    for x_BT, y_BT in batches:
        assert torch.equal(x_BT[:, 1:], y_BT[:, :-1])
    return np.array([torch.cat((x_BT, y_BT[:, -1:]), 1).numpy() for x_BT, y_BT in batches])


KNOBS = {
    "defaults": {},
    "mixture": {"mixture": "docs:3,code:1"},
    "curriculum": {"mixture": "docs:1", "mixture_end": "logs:1,code:1"},
    "documents": {"packing": "documents", "mixture_end": "logs:1"},
    "filters": {"deduplicate": "near", "min_bytes": 200, "max_repetition": 0.9},
    "bpe": {"tokenizer": "bpe", "vocab": 300, "mixture": "docs:1,logs:1"},
}
knobs = pytest.mark.parametrize(
    "changes",
    [pytest.param(v, id=k, marks=[needs_tokenizers] if k == "bpe" else []) for k, v in KNOBS.items()],
)


# --- the order ------------------------------------------------------------------------------------------


def test_the_default_order_is_the_one_that_every_earlier_result_was_made_with(train):
    data = np.frombuffer(train.read_bytes(), np.uint8)
    windows = (len(data) - 1) // 16
    generator = np.random.default_rng([5, 0xDA7A])
    order = np.concatenate([generator.permutation(windows) for _ in range(3)])
    expected = data[order[: 8 * 300, None] * 16 + np.arange(17)].reshape(300, 8, 17)
    assert windows * 2 > 8 * 300 > windows, "the epoch ends within the steps that are compared"
    assert (steps(Reader(train, CONFIG, 5), 300) == expected).all()


@knobs
def test_any_number_of_ranks_reads_the_same_batches_and_each_its_part(train, changes):
    config = replace(CONFIG, **changes)
    whole = steps(Reader(train, config, 1, total=40_000), 40)
    for ranks in (2, 3, 8):
        parts = [steps(Reader(train, config, 1, rank, ranks, 40_000), 40) for rank in range(ranks)]
        assert (np.concatenate(parts, axis=1) == whole).all()


@knobs
@pytest.mark.parametrize("done", [0, 1, 37, 260])
def test_a_reader_goes_on_from_any_step_to_the_same_bits_whatever_its_ranks_were(train, changes, done):
    config = replace(CONFIG, **changes)
    first = Reader(train, config, 1, 1, 2, total=40_000)
    steps(first, done)
    state = json.loads(json.dumps(first.state_dict()))
    again = Reader(train, config, 1, 1, 2, total=40_000)
    again.load_state_dict(state)
    assert (steps(again, 60) == steps(first, 60)).all()
    assert again.tokens == first.tokens == (done + 60) * 8 * 16
    assert again.record() == first.record()


def test_the_seed_decides_the_order(train):
    config = replace(CONFIG, mixture="docs:1,code:1")
    assert not (steps(Reader(train, config, 1), 5) == steps(Reader(train, config, 2), 5)).all()


def test_a_batch_that_an_idea_changes_midway_goes_on_in_the_same_order(train):
    plain, changed = Reader(train, CONFIG, 1), Reader(train, CONFIG, 1)
    changed.batch = 4
    halves = steps(changed, 20).reshape(10, 8, 17)
    assert (halves == steps(plain, 10)).all()


# --- mixture and curriculum ---------------------------------------------------------------------------


def shares(windows: np.ndarray) -> np.ndarray:
    """Of the windows, the share of each source."""
    texts = [bytes(row.astype(np.uint8)) for row in windows.reshape(-1, windows.shape[-1])]
    counts = [sum(name[:3].encode() in text for text in texts) for name in SOURCES]
    return np.array(counts) / len(texts)


def test_a_mixture_gives_each_source_its_share_at_every_moment(train):
    reader = Reader(train, replace(CONFIG, mixture="docs: 2, logs:1 ,code:0"), 1)
    for _ in range(5):
        code, docs, logs = shares(steps(reader, 12))
        assert code == 0
        assert (docs, logs) == pytest.approx((2 / 3, 1 / 3), abs=0.04)
    by_name = {source["name"]: source for source in reader.record()["sources"]}
    assert by_name["docs"]["read"] == pytest.approx(2 / 3 * reader.tokens, rel=0.02)
    for name, share in (("docs", 2 / 3), ("logs", 1 / 3)):
        passes = share * reader.tokens / by_name[name]["tokens"]
        assert by_name[name]["epochs"] == pytest.approx(passes, rel=0.02)
    assert (by_name["code"]["read"], by_name["code"]["epochs"]) == (0, 0)


def test_the_order_within_a_source_does_not_depend_on_the_rest_of_the_mixture(train):
    def of_docs(mixture, count):
        windows = steps(Reader(train, replace(CONFIG, mixture=mixture), 1), count).reshape(-1, 17)
        return [row.tobytes() for row in windows if b"doc" in bytes(row.astype(np.uint8))]

    alone, mixed = of_docs("docs:1", 10), of_docs("docs:1,code:1", 20)
    assert mixed[:70] == alone[:70]


def test_a_curriculum_moves_linearly_from_the_first_mixture_to_the_last(train):
    config = replace(CONFIG, mixture="docs:1", mixture_end="code:1")
    reader = Reader(train, config, 1, total=100 * 8 * 16)
    code = np.array([shares(steps(reader, 10))[0] for _ in range(10)])
    assert code == pytest.approx(np.arange(0.05, 1, 0.1), abs=0.04)
    assert shares(steps(reader, 10))[0] == 1, "beyond its end it stays where it arrived"


def test_without_a_first_mixture_a_curriculum_begins_with_the_sources_as_they_are(train):
    reader = Reader(train, replace(CONFIG, mixture_end="logs:1"), 1, total=10**9)
    sizes = {source["name"]: source["tokens"] for source in reader.record()["sources"]}
    expected = [sizes[name] / sum(sizes.values()) for name in SOURCES]
    assert shares(steps(reader, 60)) == pytest.approx(expected, abs=0.03)


REFUSED = {
    "mixture=web:1": "mixture is 'web:1': no source 'web'; this text has code, docs, logs",
    "mixture=docs": "mixture is 'docs': no source 'docs'; this text has",
    "mixture=docs:much": "the weight of docs is 'much'; a number is needed",
    "mixture=docs:0": "mixture is 'docs:0': all weights are 0",
    "mixture_end=web:1": "mixture_end is 'web:1': no source 'web'",
    "packing=tight": "packing is 'tight'; allowed are stream, documents",
    "tokenizer=words": "tokenizer is 'words'; allowed are bytes, bpe",
    "deduplicate=some": "deduplicate is 'some'; allowed are none, exact, near",
    "min_bytes=100000": "the filters left none of 60 documents; left out were {'min_bytes': 60}",
    "vocab=100 tokenizer=bpe": "vocab is 100; tokenizer=bpe takes 257 to 65536",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_knob_that_cannot_be_served_is_refused_with_what_is_allowed(train, setting):
    config = gpt.config.with_overrides(CONFIG, setting.split())
    with pytest.raises(ValueError) as caught:
        Reader(train, config, 1, total=1000)
    assert REFUSED[setting] in str(caught.value)


def test_a_source_that_the_filters_emptied_is_missed(train):
    config = replace(CONFIG, mixture="logs:1,docs:1", min_bytes=300)
    with pytest.raises(ValueError, match="source 'logs' has 0 tokens left; a window needs 17"):
        Reader(train, config, 1)


def test_a_curriculum_needs_the_length_of_the_run(train):
    with pytest.raises(ValueError, match="mixture_end needs to know how many tokens"):
        Reader(train, replace(CONFIG, mixture_end="docs:1"), 1)


def test_the_command_says_what_is_wrong_in_one_line(train, tmp_path):
    command = [
        sys.executable,
        str(BUILT_IN["gpt"] / "train.py"),
        "--data",
        str(train),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "--set", "mixture=web:1"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("no source 'web'; this text has code, docs, logs")
    assert "Traceback" not in done.stderr


# --- documents ------------------------------------------------------------------------------------------


def test_without_a_list_of_sources_all_text_is_one_source_and_a_plain_file_one_document(tmp_path):
    for documents in ([document(1, 400)], [document(i, 200) for i in range(4)]):
        reader = Reader(text_file(tmp_path, documents), replace(CONFIG, mixture="text:1"), 1)
        (source,) = reader.record()["sources"]
        assert (source["name"], source["documents"]) == ("text", len(documents))


def test_a_list_of_sources_of_another_text_is_refused(tmp_path):
    path = text_file(tmp_path, [document(i, 200) for i in range(4)])
    (tmp_path / "sources.json").write_text('{"sources": ["a"], "documents": [0, 0]}')
    with pytest.raises(ValueError, match=r"sources\.json: it lists 2 documents, train\.bin holds 4"):
        Reader(path, CONFIG, 1)


def test_the_tokens_read_of_each_source_are_counted_one_by_one(train):
    source_N = np.repeat(np.arange(60) % 3, [len(text) + 1 for text in train.read_bytes().split(b"\0")])
    reader, count_S = Reader(train, CONFIG, 1), np.zeros(3, int)
    for _ in range(200):  # into the second epoch
        reader()
        places_BT = reader.handed_out[-1][:, None] + np.arange(16)
        count_S += np.bincount(source_N[places_BT].ravel(), minlength=3)
    assert [source["read"] for source in reader.record()["sources"]] == count_S.tolist()


def kept(folder: Path, documents: list[bytes], **changes) -> tuple[list[bytes], dict]:
    """The documents that a reader with these knobs keeps, in order, and its count of the others."""
    config = replace(CONFIG, batch=1, context=4, **changes)
    reader = Reader(text_file(folder, documents), config, 1)
    return bytes(reader.text.tokens).split(b"\0")[:-1], reader.text.left_out


def test_filters_leave_out_what_they_name(tmp_path):
    prose, short, table = document(0, 40), b"short text", b"\n".join([b"the same line"] * 20)
    noise, broken = bytes(range(1, 32)) * 4 + b"text" * 4, document(3, 40) + b"\xff" * 40
    accents = ("äöü é " * 30).encode()
    everything = [prose, short, table, noise, broken, accents]
    assert kept(tmp_path, everything, packing="documents")[1] == {}
    for changes, gone in [
        ({"min_bytes": 50}, [short]),
        ({"max_bytes": 200}, [one for one in everything if len(one) > 200]),
        ({"max_non_text": 0.05}, [noise, broken]),
        ({"max_repetition": 0.5}, [table]),
    ]:
        left, left_out = kept(tmp_path, everything, **changes)
        assert left == [one for one in everything if one not in gone]
        assert left_out == {next(iter(changes)): len(gone)}


def test_deduplication_keeps_the_first_of_equal_and_of_near_equal_documents(tmp_path):
    long, other = document(0, 300), document(1, 300)
    words = long.split()
    edited = b" ".join(b"edited" if i % 100 == 50 else word for i, word in enumerate(words))
    half = b" ".join(words[:150]) + b" " + document(2, 150)
    part = b" ".join(words[100:200])
    documents = [long, other, long, edited, half, part]
    assert kept(tmp_path, documents, deduplicate="exact")[0] == [long, other, edited, half, part]
    left, left_out = kept(tmp_path, documents, deduplicate="near")
    assert left == [long, other, half]
    assert left_out == {"deduplicate": 3}


sizes = st.lists(st.integers(1, 90), min_size=1, max_size=25)


@given(sizes, st.integers(1, 40))
def test_packing_by_documents_pads_nothing_loses_nothing_and_never_joins_parts(sizes, context):
    window = context + 1
    sizes = sorted(sizes, key=lambda size: size < window)  # short ones last, else in order
    starts = gpt.sources.cut_documents(np.array(sizes), context)
    total = sum(sizes)
    assert all(0 <= start <= total - window for start in starts)
    document = np.repeat(np.arange(len(sizes)), sizes)
    long = np.array(sizes) >= window
    covered = np.zeros(total, bool)
    for start in starts:
        inside = set(document[start : start + window])
        assert len(inside) == 1 or not any(long[i] for i in inside), "a long document shares no window"
        covered[start : start + window] = True
    joined = sum(size for size in sizes if size < window)
    assert covered[long[document]].all()
    assert covered.all() or joined < window
    for place in np.flatnonzero(~long):
        own = np.flatnonzero(document == place)
        whole = any(start <= own[0] and own[-1] < start + window for start in starts)
        assert whole or joined < window, "a short document stands whole in at least one window"


def test_packing_by_documents_ends_windows_where_documents_end(train):
    reader = Reader(train, replace(CONFIG, packing="documents"), 1)
    windows = steps(reader, 200).reshape(-1, 17)
    zero_N, place_N = np.nonzero(windows == 0)
    assert len(zero_N) > 40 and (place_N == 16).all()


# --- tokens ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs():
    code = b"def f(x):\n        if x:\n            return 1234 + x\n\n\n"
    return gpt.tokenizer.BPE.train([document(i, 300) + b"\n" + 30 * code for i in range(6)], 400)


code_like = st.lists(st.sampled_from([" ", "    ", "\n", "\t", "code1", "def", "1234567", "+", "é", "\0"]))


@needs_tokenizers
@given(st.binary(max_size=300) | code_like.map("".join).map(str.encode))
@settings(max_examples=60, deadline=None)
def test_byte_pairs_give_any_bytes_back_and_are_those_of_the_library(pairs, data):
    import tokenizers

    tokens = pairs.encode(data)
    assert pairs.decode(tokens) == data
    library = tokenizers.Tokenizer.from_str(pairs.described)
    assert list(tokens) == library.encode(data.decode("latin-1")).ids


@needs_tokenizers
def test_byte_pairs_are_learned_alike_by_every_process_and_from_a_bounded_part_of_the_text(tmp_path):
    code = (
        "import hashlib, tokenizer\n"
        "tokenizer.TRAINING_BYTES = 20_000\n"
        "texts = [b' '.join(b'word%d' % (i * j % 97) for i in range(3000)) for j in range(1, 8)]\n"
        "assert 10_000 < sum(map(len, tokenizer._sample(texts))) < 30_000\n"
        "print(hashlib.sha256(tokenizer.BPE.train(texts, 500).described.encode()).hexdigest())\n"
    )
    found = set()
    for seed, threads in (("0", "1"), ("1", "2")):
        env = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=BUILT_IN["gpt"], env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


@needs_tokenizers
def test_a_run_leaves_its_tokenizer_and_an_account_of_what_it_read(train, tmp_path):
    reader = Reader(train, replace(CONFIG, tokenizer="bpe", vocab=300), 1)
    windows = steps(reader, 30)
    assert windows.max() > 255
    reader.save(tmp_path)
    loaded = gpt.tokenizer.load_tokenizer(tmp_path)
    assert (
        hashlib.sha256(train.read_bytes()).digest()
        == hashlib.sha256(loaded.decode(loaded.encode(train.read_bytes()))).digest()
    )
    record = json.loads((tmp_path / "data.json").read_text())
    assert (record["tokenizer"], record["vocab"], record["tokens"]) == ("bpe", 300, 30 * 8 * 16)
    assert sum(source["read"] for source in record["sources"]) == record["tokens"]
    assert sum(source["bytes"] for source in record["sources"]) == train.stat().st_size + 1
    plain = Reader(train, CONFIG, 1)
    plain.save(tmp_path)
    assert json.loads((tmp_path / "data.json").read_text())["tokenizer"] == "bytes"
