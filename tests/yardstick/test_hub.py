"""Datasets by name: streamed into a folder, from where they stopped. A local folder stands for the hub."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from mendel.yardstick import hub
from mendel.yardstick.corpus import build_corpus
from mendel.yardstick.sources import CorpusError

needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="datasets come with the extra [data]"
)
TEXTS = [" ".join(random.Random(i).choices([f"word{j}" for j in range(900)], k=2500)) for i in range(30)]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> Path:
    """A folder as the hub has them: one split, in three files."""
    folder = tmp_path_factory.mktemp("hub") / "stories"
    (folder / "data").mkdir(parents=True)
    for part in range(3):
        table = pyarrow.table({"story": TEXTS[10 * part : 10 * part + 10], "id": list(range(10))})
        pyarrow.parquet.write_table(table, folder / "data" / f"train-{part:05}-of-00003.parquet")
    return folder


def downloaded(folder: Path) -> list[str]:
    lines = [line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:a/b", ("a/b", None, "train", "text", 100_000_000)),
        ("hf:a/b#en@2MB", ("a/b", "en", "train", "text", 2_000_000)),
        ("hf:/x/y z:validation", ("/x/y z", None, "validation", "text", 100_000_000)),
        ("hf:a/b#c:test:body@1.5GB", ("a/b", "c", "test", "body", 1_500_000_000)),
    ],
)
def test_a_name_says_what_to_read(spec, expected):
    assert tuple(hub.parse(spec)) == expected


@pytest.mark.parametrize("spec", ["hf:", "hf:a:b:c:d", "hf:a@7", "hf:a@many MB", "hf:a#", "hf::train"])
def test_a_name_that_is_not_understood_is_refused_with_what_is_allowed(spec):
    with pytest.raises(CorpusError, match=r"not understood; allowed is hf:NAME\[#CONFIG\]"):
        hub.parse(spec)


@needs_datasets
def test_a_corpus_is_built_from_a_dataset_and_built_again_without_it(parquet, tmp_path):
    spec = f"hf:{parquet}:train:story"
    corpus = build_corpus(spec, tmp_path)
    corpus.verify()
    (folder,) = (tmp_path / "downloads").iterdir()
    assert downloaded(folder) == TEXTS
    assert json.loads(corpus.sources_file.read_text())["sources"] == ["stories"]
    assert corpus.train.documents + corpus.validation.documents + corpus.held_out.documents == 30
    parquet.rename(parquet.with_name("away"))
    try:
        assert build_corpus(spec, tmp_path).hash == corpus.hash
    finally:
        parquet.with_name("away").rename(parquet)


@needs_datasets
def test_it_stops_where_there_is_enough(parquet, tmp_path):
    texts = downloaded(hub.download(f"hf:{parquet}:train:story@0.1MB", tmp_path))
    size = len("".join(texts))
    assert texts == TEXTS[: len(texts)]
    assert 100_000 <= size < 100_000 + len(TEXTS[0]) + 1000


STREAMS = """
import os, sys
from pathlib import Path
import datasets
from mendel.yardstick import hub
hub.PART = 40_000
replace = hub._replace

def stream(root, writes):
    if os.fork() == 0:
        left = [writes]
        def counted(path, text):
            replace(path, text)
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)  # killed right after this write
        hub._replace = counted
        hub.stream(sys.argv[1], Path(sys.argv[2]) / root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.wait()[1])

# 3: a part is there, the position after it is not.
print(stream("whole", 0), stream("cut", 3), stream("cut", 6), stream("cut", 0), flush=True)
os._exit(0)
"""


@needs_datasets
def test_a_download_that_is_killed_after_any_write_goes_on_to_the_same_files(parquet, tmp_path):
    command = [sys.executable, "-c", STREAMS, f"hf:{parquet}:train:story", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "0 9 9 0\n", done.stderr
    whole, cut = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.jsonl")} for n in ("whole", "cut"))
    assert len(whole) > 4
    assert cut == whole
    assert downloaded(tmp_path / "cut") == TEXTS


REFUSED = """
import os, sys
from pathlib import Path
from mendel.yardstick import CorpusError, hub
for spec in sys.argv[2:]:
    try:
        hub.stream(spec, Path(sys.argv[1]))
    except CorpusError as error:
        print(error, flush=True)
os._exit(0)
"""


@needs_datasets
def test_what_cannot_be_read_is_named_in_one_line(parquet, tmp_path):
    refused = {
        f"hf:{parquet}:train": "no column 'text'; it has story, id",
        f"hf:{parquet}:train:id": "column 'id' holds int; text is needed",
        f"hf:{parquet}:test:story": "Bad split: test",
        "hf:nobody/nothing": "data 'hf:nobody/nothing': cannot be opened (",
    }
    command = [sys.executable, "-c", REFUSED, str(tmp_path), *refused]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == len(refused), done.stderr
    assert all(said in line for said, line in zip(refused.values(), lines, strict=True))


def test_without_the_extra_the_message_names_it(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from importlib.machinery import PathFinder\n"
        "class Without(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        return None if name == 'datasets' else PathFinder.find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = Without\n"
        "from mendel.yardstick import CorpusError, build_corpus\n"
        "try: build_corpus('hf:a/b', Path(sys.argv[1]))\n"
        "except CorpusError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "data 'hf:a/b': reading it needs the extra: pip install 'mendel[data]'\n", (
        done.stderr
    )
