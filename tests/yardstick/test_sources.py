"""A folder of text, and what is said of one that cannot be used."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.yardstick.sources import CorpusError, Source, documents, package_folders, read_folder


def read(folder):
    return [(d.path, d.content) for d in documents(read_folder(folder))]


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def test_all_three_formats_are_read_recursively(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.TXT").write_bytes("caf\u00e9\r\n".encode())
    (tmp_path / "b.jsonl").write_text('{"text": "one", "id": 1}\n\n{"text": "t\\u2028wo"}\n{"text": " "}')
    write_parquet(tmp_path / "c.parquet", text=["three", "four"], other=[1, 2])
    (tmp_path / "notes.md").write_text("passed over")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.txt").write_text("passed over")
    assert read(tmp_path) == [
        ("b.jsonl#1", b"one"),
        ("b.jsonl#3", "t\u2028wo".encode()),
        ("c.parquet#0", b"three"),
        ("c.parquet#1", b"four"),
        ("deep/er/a.TXT", "caf\u00e9\r\n".encode()),
    ]


BAD = {
    "latin.txt": (b"abc caf\xe9 abc", "latin.txt: not UTF-8 at byte offset 7 (found 0xe9); save it as UTF-8"),
    "wide.txt": ("abc".encode("utf-16-le"), "wide.txt: NUL byte at offset 1; text has none"),
    "a.jsonl": (b'{"text": "x"}\n{"body": "y"}', "a.jsonl:2: no key 'text', found keys 'body'; each line"),
    "b.jsonl": (b'["text"]', "b.jsonl:1: no key 'text', found list; each line is an object with 'text'"),
    "c.jsonl": (b'{"text": 7}', "c.jsonl:1: 'text' is int; a string is needed"),
    "d.jsonl": (b'{"text": ', "d.jsonl:1: not JSON (Expecting value at column 10)"),
    "e.jsonl": (b'{"text": "\\ud800"}', "e.jsonl:1: 'text' has an unpaired surrogate at character 0"),
    "f.jsonl": (b"[" * 200_000, "f.jsonl:1: JSON that cannot be read"),
    "g.jsonl": (b'{"text": "x\xff"}', "g.jsonl: not UTF-8 at byte offset 11 (found 0xff)"),
    "h.jsonl": (b"1" * 5000, "h.jsonl:1: JSON that cannot be read"),
    "i.jsonl": (
        json.dumps(dict.fromkeys("abcdefghij", 1)).encode(),
        "found keys 'a', 'b', 'c', 'd', 'e', 'f', ...",
    ),
    "a.parquet": (b"PAR1 nonsense PAR1", "a.parquet: not a readable Parquet file ("),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unusable_file_is_named_with_the_place(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_needs_a_text_column_of_strings(tmp_path):
    write_parquet(tmp_path / "a.parquet", body=["x"], id=[1])
    with pytest.raises(CorpusError, match="no column 'text', found 'body', 'id'"):
        read(tmp_path)
    write_parquet(tmp_path / "a.parquet", text=["x", None])
    with pytest.raises(CorpusError, match="row 1: 'text' is NoneType; a string is needed"):
        read(tmp_path)


def test_missing_empty_and_wrong_folders_are_told_apart(tmp_path):
    with pytest.raises(CorpusError, match="nowhere': there is no such folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(CorpusError, match=r"holds no readable file; allowed are \.txt, \.jsonl, \.parquet"):
        read_folder(tmp_path)
    with pytest.raises(CorpusError, match=r"notes\.md' is a file; give the folder"):
        read_folder(tmp_path / "notes.md")


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"the package sympy is not in .*--data"):
        package_folders(tmp_path)


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_any_bytes_as_json_lines_give_documents_or_one_line_of_error(data):
    try:
        found = list(documents(Source("/data", {"a.jsonl": data}, {})))
    except CorpusError as error:
        assert str(error).startswith("/data/a.jsonl") and "\n" not in str(error)
    else:
        assert all(0 not in d.content and d.content.decode().strip() for d in found)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_json_lines_round_trip(texts):
    lines = "\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in texts)
    found = [d.content.decode() for d in documents(Source("/data", {"a.jsonl": lines.encode()}, {}))]
    assert found == [t for t in texts if t.encode().strip()]
