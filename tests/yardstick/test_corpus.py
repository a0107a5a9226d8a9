"""The split: nothing is in two places, nothing changes unseen, equal text has an equal hash."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import Shard
from mendel.yardstick.corpus import (
    MIN_SHARD,
    SEALED,
    Document,
    _size,
    _split_by_size,
    build_corpus,
    load_corpus,
)
from mendel.yardstick.duplicates import signature
from mendel.yardstick.sealed import sealed_paths
from mendel.yardstick.sources import CorpusError
from yardstick.texts import edited, text, text_folder

needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sympy", "networkx", "mpmath")),
    reason="the default corpus needs sympy, networkx and mpmath",
)

PINNED = {"sympy": "1.14.0", "networkx": "3.6.1", "mpmath": "1.3.0"}
PINNED_HASH = "b1a5ad8f0df3"

BUILD = "import sys; from pathlib import Path; from mendel.yardstick.corpus import build_corpus; "


def run_python(code: str, **environment: str) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    variables = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen) -> str:
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return printed


def contents(corpus) -> dict[str, dict[str, bytes]]:
    """Split name -> path -> content, from the files."""
    listed = json.loads((corpus.sealed_folder / "documents.json").read_text())
    texts = {"train": corpus.train_text()} | {shard.value: corpus.shard_text(shard) for shard in Shard}
    found = {name: text.tobytes().split(b"\0") for name, text in texts.items()}
    return {name: dict(zip(listed[name], found[name], strict=True)) for name in texts}


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return build_corpus("default", tmp_path_factory.mktemp("default"))


# --- the default corpus -----------------------------------------------------------------------------


@needs_packages
def test_the_default_corpus_is_large_enough_and_its_shards_are_alike(default):
    default.verify()
    assert default.train.bytes > 15e6
    assert min(default.validation.bytes, default.held_out.bytes) > 1e6
    assert default.validation.bytes == pytest.approx(default.held_out.bytes, rel=0.02)
    found = contents(default)
    for part in ("sympy/", "networkx/", "tests/"):
        shares = [
            sum(len(c) for p, c in found[s].items() if part in p) / sum(map(len, found[s].values()))
            for s in ("validation", "held_out")
        ]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)
        assert min(shares) > 0.15
    assert default.epochs(2 * default.train.bytes) == 2


@needs_packages
def test_every_document_is_one_whole_installed_file(default):
    site = Path(importlib.util.find_spec("sympy").origin).parents[1]
    for documents in contents(default).values():
        for path, content in documents.items():
            assert (site / path).read_bytes() == content


@needs_packages
def test_the_hash_is_the_same_in_another_process_that_imports_no_package(default, tmp_path):
    code = BUILD + (
        f"print(build_corpus('default', Path({str(tmp_path)!r})).hash, "
        "[m for m in ('sympy', 'networkx', 'mpmath', 'torch') if m in sys.modules])"
    )
    assert output(run_python(code, PYTHONHASHSEED="7")) == f"{default.hash} []\n"
    if default.libraries == PINNED:
        assert default.hash == PINNED_HASH


@needs_packages
def test_sealed_documents_lie_in_folders_that_no_run_imports(default):
    found = contents(default)
    sealed = {*found["validation"], *found["held_out"]}
    assert all(any(path.startswith(f"{folder}/") for folder in SEALED) for path in sealed)
    assert not any(path.startswith(f"{folder}/") for path in found["train"] for folder in SEALED)
    assert all(path.exists() for path in sealed_paths())
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    code = (
        "import sys, torch, torch._dynamo, torch._inductor.compile_fx\n"
        "for module in list(sys.modules.values()):\n"
        "    if getattr(module, '__file__', None): print(module.__file__)"
    )
    imported = {str(Path(line).resolve()) for line in output(run_python(code)).splitlines()}
    hidden = [str(folder.resolve()) + "/" for folder in sealed_paths()]
    assert any("/sympy/" in path for path in imported)
    assert not [path for path in imported if path.startswith(tuple(hidden))]


@needs_packages
def test_no_document_of_one_split_resembles_one_of_another(default):
    found = contents(default)
    tables = {
        name: np.stack([s for s in map(signature, documents.values()) if s is not None])
        for name, documents in found.items()
    }
    for name, other in (("validation", "train"), ("held_out", "train"), ("validation", "held_out")):
        likeness = [float((tables[other] == row).mean(axis=1).max()) for row in tables[name]]
        assert max(likeness) < 0.6


def made_up_packages(site: Path) -> Path:
    for i, folder in enumerate((*SEALED, "sympy/core", "networkx/classes", "mpmath/libmp")):
        (site / folder).mkdir(parents=True)
        for j in range(4):
            (site / folder / f"m{j}.py").write_text(text(100 * i + j, words=5000))
    for package in ("sympy", "networkx", "mpmath"):
        (site / package / "__init__.py").write_text("")
    return site


def test_a_sealed_file_with_a_copy_outside_goes_to_train(tmp_path):
    site = made_up_packages(tmp_path / "site")
    before = build_corpus("default", tmp_path, site)
    sealed = contents(before)["validation"]
    near, exact = list(sealed)[:2]
    (site / "sympy/core/near.py").write_text(edited(sealed[near].decode(), 1, changes=50))
    (site / "sympy/core/zzz.py").write_bytes(sealed[exact])
    after = build_corpus("default", tmp_path, site)
    assert after.hash != before.hash
    assert (after.exact_duplicates, after.near_duplicate_groups, after.near_duplicates) == (1, 1, 2)
    found = contents(after)
    assert {near, "sympy/core/near.py", "sympy/core/zzz.py"} <= found["train"].keys()
    assert not any(exact in documents for documents in found.values())


# --- a folder ---------------------------------------------------------------------------------------


def test_a_folder_is_split_by_documents_about_90_5_5(tmp_path):
    corpus = build_corpus(text_folder(tmp_path / "texts", count=100), tmp_path)
    corpus.verify()
    found = contents(corpus)
    assert sorted(p for documents in found.values() for p in documents) == [f"{i:03}.txt" for i in range(100)]
    total = sum(getattr(corpus, name).bytes for name in found)
    assert 0.04 < corpus.validation.bytes / total < 0.08
    assert 0.04 < corpus.held_out.bytes / total < 0.08
    assert corpus.train_folder != corpus.sealed_folder
    assert {f.name for f in corpus.train_folder.iterdir()} == {"train.bin", "sources.json"}


def test_near_copies_in_a_folder_never_straddle_the_split(tmp_path):
    folder = text_folder(tmp_path / "texts", count=60)
    for i in range(60):
        (folder / f"{i:03}-copy.txt").write_text(edited(text(i), i, changes=40))
    (folder / "same.txt").write_text(text(0))
    corpus = build_corpus(folder, tmp_path)
    assert (corpus.exact_duplicates, corpus.near_duplicate_groups, corpus.near_duplicates) == (1, 60, 120)
    for documents in contents(corpus).values():
        assert {p[:3] for p in documents if "copy" in p} == {p[:3] for p in documents if "copy" not in p}


@given(st.lists(st.integers(1, 200_000), min_size=3, max_size=40))
def test_every_group_lands_in_one_split_and_no_split_is_empty(sizes):
    groups = [[Document(str(i), b"x" * size)] for i, size in enumerate(sizes)]
    splits = _split_by_size(groups)
    assert sorted(int(d.path) for documents in splits.values() for d in documents) == list(range(len(sizes)))
    assert all(splits.values())
    if max(sizes) > 2 * MIN_SHARD:  # the largest groups are what train gets
        assert _size(splits["train"]) >= max(sizes)


def test_a_changed_source_has_another_hash_and_an_equal_one_is_not_built_again(tmp_path):
    folder = text_folder(tmp_path / "texts")
    first = build_corpus(folder, tmp_path)
    made = first.train_file.stat().st_mtime_ns
    assert build_corpus(str(folder), tmp_path) == first
    moved = folder.rename(tmp_path / "moved")
    assert build_corpus(moved, tmp_path) == first
    assert first.train_file.stat().st_mtime_ns == made
    (moved / "000.txt").write_text(text(0) + " more")
    second = build_corpus(moved, tmp_path)
    assert (second.hash != first.hash) and (second.source_hash != first.source_hash)
    assert load_corpus(first.folder) == first


def test_two_processes_that_build_at_once_agree(tmp_path):
    folder = text_folder(tmp_path / "texts")
    code = BUILD + f"print(build_corpus({str(folder)!r}, Path({str(tmp_path)!r})).hash)"
    hashes = {output(process) for process in [run_python(code) for _ in range(3)]}
    assert len(hashes) == 1
    assert [p.name for p in (tmp_path / "corpora").iterdir()] == [hashes.pop().strip()]
    build_corpus(folder, tmp_path).verify()


def test_a_corpus_that_lost_the_race_to_an_equal_one_is_that_one(tmp_path):
    folder = text_folder(tmp_path / "texts")
    first = build_corpus(folder, tmp_path)
    (folder / "blank.txt").write_text("\n")  # another source, the same documents
    assert build_corpus(folder, tmp_path) == first


FILES = ("train/train.bin", "sealed/validation.bin", "sealed/held_out.bin")


@pytest.mark.parametrize("name", FILES)
def test_a_corpus_changed_under_a_campaign_is_noticed(tmp_path, name):
    corpus = build_corpus(text_folder(tmp_path / "texts"), tmp_path)
    file = corpus.folder / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorpusError, match=f"{name}: the corpus changed since it was built: sha256 is"):
        load_corpus(corpus.folder).verify()
    file.write_bytes(data[:-1])
    with pytest.raises(CorpusError, match=f"{name}: the corpus changed .* it has {len(data) - 1} bytes"):
        load_corpus(corpus.folder)
    file.unlink()
    with pytest.raises(CorpusError, match=f"{name}: the corpus changed .* it is missing"):
        load_corpus(corpus.folder)
    with pytest.raises(CorpusError, match=f"{name}: the corpus changed .* cannot be read"):
        corpus.verify()


def test_a_changed_manifest_or_list_is_noticed(tmp_path):
    corpus = build_corpus(text_folder(tmp_path / "texts"), tmp_path)
    manifest = corpus.folder / "manifest.json"
    good = manifest.read_text()
    manifest.write_text(good.replace(corpus.hash, "0" * 12))
    with pytest.raises(CorpusError, match="manifest.json: .* its splits hash to"):
        load_corpus(corpus.folder).verify()
    manifest.write_text(good[:40])
    with pytest.raises(CorpusError, match="manifest.json: .* it is not JSON"):
        load_corpus(corpus.folder)
    manifest.write_text(good.replace('"documents"', '"texts"', 1))
    with pytest.raises(CorpusError, match="manifest.json: .* key 'train.documents'"):
        load_corpus(corpus.folder)
    manifest.write_text(good)
    (corpus.sealed_folder / "documents.json").write_text("{}")
    with pytest.raises(CorpusError, match="documents.json: .* the list 'train' is another"):
        load_corpus(corpus.folder).verify()


def test_too_little_text_is_refused_with_what_was_found_and_what_is_needed(tmp_path):
    few = text_folder(tmp_path / "few", count=2)
    (few / "copy.txt").write_text(edited(text(1), 1, changes=10))
    with pytest.raises(CorpusError, match=r"found 2 documents .* \(of 3\); at least 3 are needed"):
        build_corpus(few, tmp_path)
    small = text_folder(tmp_path / "small", count=10)
    with pytest.raises(CorpusError, match=r"too small: train has \d+ bytes, at least 200000 are needed"):
        build_corpus(small, tmp_path)
    uneven = text_folder(tmp_path / "uneven", count=2, words=10)
    (uneven / "long.txt").write_text(text(3, words=50_000))
    with pytest.raises(CorpusError, match=r"validation has \d+ bytes, at least 16384 are needed"):
        build_corpus(uneven, tmp_path)
    assert list((tmp_path / "corpora").iterdir()) == []
    shutil.rmtree(small)
    with pytest.raises(CorpusError, match="no such folder"):
        build_corpus(small, tmp_path)


# --- sources of the training documents -----------------------------------------------------------------


def named_folder(folder: Path) -> Path:
    """Texts in two folders, in a file of lines, and loose."""
    text_folder(folder / "web pages", 12)
    text_folder(folder / "books" / "old", 12, 1400)
    (folder / "chat.jsonl").write_text("".join(json.dumps({"text": text(i)}) + "\n" for i in range(900, 912)))
    (folder / "loose.txt").write_text(text(77))
    return folder


def test_the_source_of_each_training_document_lies_beside_the_text(tmp_path):
    corpus = build_corpus(named_folder(tmp_path / "texts"), tmp_path)
    listed = json.loads(corpus.sources_file.read_text())
    assert corpus.sources_file.parent == corpus.train_file.parent == corpus.train_folder
    assert set(listed["sources"]) >= {"books", "chat", "web_pages"}
    paths = json.loads((corpus.sealed_folder / "documents.json").read_text())["train"]
    named = [listed["sources"][place] for place in listed["documents"]]
    expected = {"web pages": "web_pages", "books": "books", "chat.jsonl": "chat", "loose.txt": "text"}
    assert named == [expected[path.split("/")[0].split("#")[0]] for path in paths]
    assert len(named) == corpus.train_file.read_bytes().count(0) + 1


@needs_packages
def test_the_sources_of_the_default_corpus_are_its_packages(default):
    listed = json.loads(default.sources_file.read_text())
    assert listed["sources"] == ["mpmath", "networkx", "sympy"]
    assert len(listed["documents"]) == default.train.documents


def test_a_corpus_from_before_there_were_sources_gets_them_and_keeps_its_hash(tmp_path):
    source = named_folder(tmp_path / "texts")
    corpus = build_corpus(source, tmp_path)
    before = corpus.sources_file.read_text()
    corpus.sources_file.unlink()
    assert build_corpus(source, tmp_path).hash == corpus.hash
    assert corpus.sources_file.read_text() == before
    corpus.verify()


def test_a_list_of_sources_that_was_changed_is_found(tmp_path):
    corpus = build_corpus(named_folder(tmp_path / "texts"), tmp_path)
    listed = json.loads(corpus.sources_file.read_text())
    listed["documents"][0] ^= 1
    corpus.sources_file.write_text(json.dumps(listed))
    with pytest.raises(CorpusError, match=r"sources\.json: .* names other sources"):
        corpus.verify()
