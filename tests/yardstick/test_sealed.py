"""No copy of the sealed text is in a run's sight: it lies in packages that runs can import."""

import importlib.util
import json
import os
import py_compile
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mendel.records import RunStatus, Shard
from mendel.runs import Job
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox.view import SYSTEM as SHOWN
from mendel.runs.sandbox.view import interpreter_paths
from mendel.testing.executor_conformance import drain
from mendel.yardstick import grams
from mendel.yardstick.corpus import SEALED, build_corpus
from mendel.yardstick.leaks import sealed_text
from mendel.yardstick.sealed import SYSTEM, interpreter_folders, sealed_paths
from mendel.yardstick.sources import CorpusError
from yardstick.texts import text

needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sympy", "networkx", "mpmath")),
    reason="the default corpus needs sympy, networkx and mpmath",
)


def package(site: Path) -> Path:
    """An install of packages of the same names, large enough for a corpus."""
    for number, folder in enumerate((*SEALED, "sympy/core", "networkx/classes", "mpmath/libmp")):
        (site / folder).mkdir(parents=True)
        for part in range(2):
            words = text(10 * number + part, words=400 if folder in SEALED else 5000)
            (site / folder / f"m{part}.py").write_text(f"'{words}'\n")
    for name in ("sympy", "networkx", "mpmath"):
        (site / name / "__init__.py").write_text("")
    return site


def found(tmp_path: Path, more: Path) -> set[str]:
    """Copies below `more`, relative to it."""
    paths = sealed_paths(site_packages=tmp_path / "site", more=(more,))
    return {str(path.relative_to(more)) for path in paths if path.is_relative_to(more)}


# --- finding them -----------------------------------------------------------------------------------


def test_the_search_covers_all_that_a_sandbox_shows():
    assert {path for path in SHOWN if not path.startswith("/etc/")} <= set(SYSTEM)
    shown = {path for path in interpreter_paths() if path != sys.executable}
    assert shown <= set(interpreter_folders(sys.executable))


def test_the_folders_themselves_come_first(tmp_path):
    site = package(tmp_path / "site")
    assert sealed_paths(site_packages=site)[: len(SEALED)] == tuple(site / name for name in SEALED)


def test_other_installs_and_compiled_copies_are_found_by_their_folder(tmp_path):
    package(tmp_path / "site")
    more = tmp_path / "more"
    package(more / "vendored" / "_vendor")
    compiled = more / "cache" / "root" / "site-packages" / "sympy" / "stats"
    compiled.mkdir(parents=True)
    py_compile.compile(str(tmp_path / "site/sympy/stats/m0.py"), str(compiled / "m0.cpython-311.pyc"))
    (more / "torch" / "utils" / "_sympy").mkdir(parents=True)
    expected = {f"vendored/_vendor/{name}" for name in SEALED} | {"cache/root/site-packages/sympy/stats"}
    assert found(tmp_path, more) == expected


def test_archives_and_manuals_are_found_by_what_they_hold_or_their_name(tmp_path):
    package(tmp_path / "site")
    more = tmp_path / "more"
    more.mkdir()
    for name in ("wheelhouse.zip", "sympy-1.14-py3-none-any.whl", "other.egg"):
        with zipfile.ZipFile(more / name, "w") as archive:
            archive.writestr("sympy/stats/m0.py" if name != "other.egg" else "other/stats/m0.py", "text")
    for name in ("networkx-3.6.tar.gz", "sympy-1.14-py311.conda", "numpy-2.tar.gz", "broken.zip"):
        (more / name).write_bytes(b"not really")
    (more / "doc" / "python-sympy-doc").mkdir(parents=True)
    expected = {"wheelhouse.zip", "sympy-1.14-py3-none-any.whl", "networkx-3.6.tar.gz"}
    assert found(tmp_path, more) == expected | {"sympy-1.14-py311.conda", "doc/python-sympy-doc"}


def test_hard_links_under_another_name_are_found_and_symbolic_ones_followed_by_nobody(tmp_path):
    site = package(tmp_path / "site")
    more = tmp_path / "more"
    more.mkdir()
    (more / "notes.txt").hardlink_to(site / "sympy/stats/m0.py")
    (more / "fair.txt").hardlink_to(site / "sympy/core/m0.py")
    (more / "link.txt").symlink_to(site / "sympy/stats/m0.py")
    (more / "loop").symlink_to(more)
    assert found(tmp_path, more) == {"notes.txt"}


def test_an_interpreter_that_cannot_be_asked_is_named(tmp_path):
    site = package(tmp_path / "site")
    with pytest.raises(CorpusError, match=r"no-python: it does not say where its packages lie"):
        sealed_paths(tmp_path / "no-python", site)


# --- a run's view -----------------------------------------------------------------------------------

TRY = """
import glob, importlib, inspect, json, linecache, marshal, os, pkgutil, sys, zipimport
from pathlib import Path
given = json.loads(Path("given.json").read_text())
got = {}

def attempt(way, path, read):
    try:
        text = read()
    except (OSError, ImportError, ValueError, TypeError, zipimport.ZipImportError):
        return
    if text:
        got.setdefault(way, []).append(path)

def constants(path):
    code = marshal.loads(Path(path).read_bytes()[16:])
    return [value for value in code.co_consts if isinstance(value, str)]

for path in given["paths"]:
    for site in given["sites"]:
        full = os.path.join(site, path)
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        attempt("open", full, lambda: open(full).read())
        attempt("root", full, lambda: open("/proc/self/root" + full).read())
        attempt("parent", full, lambda: open("/proc/1/root" + full).read())
        attempt("line", full, lambda: linecache.getline(full, 1))
        name, _, file = full.rpartition("/")
        for compiled in glob.glob(f"{name}/__pycache__/*.pyc"):
            attempt("pyc", compiled, lambda: constants(compiled))
        attempt("folder", name, lambda: [n for n in os.listdir(name) if n.endswith((".py", ".pyc"))])
    attempt("resource", path, lambda: pkgutil.get_data(path.split("/")[0], path.partition("/")[2]))
for module in given["modules"]:
    attempt("import", module, lambda: inspect.getsource(importlib.import_module(module)))
for file in given["files"]:
    attempt("file", file, lambda: Path(file).read_bytes())
    attempt("zip", file, lambda: zipimport.zipimporter(file + "/sympy/stats").get_source("m0"))
for number in os.listdir("/proc/self/fd"):
    link = os.path.realpath(f"/proc/self/fd/{number}")
    attempt("descriptor", link, lambda: link.endswith(".py") and open(link).read())
import grams
import numpy as np
search = grams.visible_copies(grams.Known(np.load("known.npy")), given["search"])
Path(sys.argv[1], "got.json").write_text(json.dumps({"got": got, "search": search._asdict()}))
"""


def look(tmp_path: Path, hidden: tuple[Path, ...], known, readable: tuple[Path, ...], **given) -> dict:
    """What a run in the sandbox got hold of."""
    source, out = tmp_path / "run" / "source", tmp_path / "run" / "out"
    for folder in (source, out):
        folder.mkdir(parents=True, exist_ok=True)
    (source / "train.py").write_text(TRY)
    (source / "given.json").write_text(json.dumps(given))
    shutil.copy(grams.__file__, source / "grams.py")
    np.save(source / "known.npy", known.hashes)
    executor = LocalExecutor(workers=1, hidden=hidden)
    try:
        if executor.sandbox.name == "none":
            pytest.skip(executor.sandbox.reason)
        job = Job(
            id="look", source=source, argv=("train.py", str(out)), out=out, timeout=120.0, memory=2e9,
            readable=readable,
        )  # fmt: skip
        executor.submit(job)
        result = drain(executor, 1)["look"]
    finally:
        executor.close()
    assert result.status is RunStatus.DONE, result.reason
    return json.loads((out / "got.json").read_text())


def planted(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder that runs may read, with every kind of copy of made-up packages, and the copies' files."""
    site = package(tmp_path / "site")
    folder = tmp_path / "readable"
    package(folder / "lib")
    for file in (folder / "lib").rglob("*.py"):
        py_compile.compile(str(file))
    with zipfile.ZipFile(folder / "wheelhouse.zip", "w") as archive:
        for file in (site / "sympy").rglob("*.py"):
            archive.write(file, file.relative_to(site))
    (folder / "notes.txt").hardlink_to(site / "networkx/algorithms/centrality/tests/m0.py")
    return folder, [str(folder / "wheelhouse.zip"), str(folder / "notes.txt")]


def test_a_run_gets_at_no_copy_of_made_up_packages_by_any_way(tmp_path):
    folder, files = planted(tmp_path)
    corpus = build_corpus("default", tmp_path, tmp_path / "site")
    known = sealed_text(corpus).known
    paths = [f"{name}/m{part}.py" for name in SEALED for part in range(2)]
    given = {"paths": paths, "sites": [str(folder / "lib")], "modules": [], "files": files}
    given["search"] = [str(folder)]
    open_to_all = look(tmp_path, (), known, (folder,), **given)
    assert {"open", "root", "line", "pyc", "folder", "file", "zip"} <= open_to_all["got"].keys()
    assert len(open_to_all["search"]["copies"]) > len(paths)
    hidden = sealed_paths(site_packages=tmp_path / "site", more=(folder,))
    seen = look(tmp_path, hidden, known, (folder,), **given)
    assert seen["got"] == {}
    assert (seen["search"]["copies"], seen["search"]["complete"]) == ([], True)
    assert seen["search"]["files"] > 10  # what is not sealed is there


@needs_packages
def test_a_run_gets_at_no_document_of_the_default_corpus_by_any_way(tmp_path):
    corpus = build_corpus("default", tmp_path)
    listed = json.loads((corpus.sealed_folder / "documents.json").read_text())
    paths = [path for shard in Shard for path in listed[shard.value]]
    prefixes = {*interpreter_folders(sys.executable)}
    sites = {os.path.dirname(os.path.dirname(importlib.util.find_spec("sympy").origin))}  # noqa: PTH120
    sites |= {str(path) for prefix in prefixes for path in Path(prefix).glob("lib/python3*/site-packages")}
    given = {
        "paths": paths,
        "sites": sorted(sites),
        "modules": ["sympy.stats", "sympy.crypto.crypto", "sympy.physics.optics.waves", "sympy.holonomic"],
        "files": [],
        "search": [f"{site}/{name}" for site in sites for name in ("sympy", "networkx", "mpmath", "scipy")],
    }
    seen = look(tmp_path, sealed_paths(), sealed_text(corpus).known, (), **given)
    assert seen["got"] == {}
    assert [copy for copy in seen["search"]["copies"] if copy[1] > 2] == []
    assert seen["search"]["bytes"] > 2e7 and seen["search"]["complete"]
