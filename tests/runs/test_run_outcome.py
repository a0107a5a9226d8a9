"""Untrusted text and files become one clean line and one bounded number."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import RunStatus
from mendel.runs import Job
from mendel.runs.outcome import judge, last_line, tokens_read

JOB = Job("job", Path("source"), ("train.py",), Path("out"), timeout=1.0, memory=1e9)


@given(st.text())
def test_a_reason_is_one_short_printable_line(text):
    line = last_line(text)
    assert len(line) <= 300
    assert line == "" or line.isprintable()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("a\nb\n\n  \n", "b"),
        ("loss 3\rloss 2\r", "loss 2"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07alert\x07\x00", "red alert"),
        ("ValueError: größer als 5", "ValueError: größer als 5"),
    ],
)
def test_the_last_line_with_anything_on_it(text, line):
    assert last_line(text) == line


def test_a_long_line_is_cut():
    assert last_line("x" * 1000) == "x" * 297 + "..."


@pytest.mark.parametrize(
    "line",
    [
        "MemoryError",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 8",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
)
def test_the_ways_to_say_out_of_memory(line):
    report = {"ended": "exit", "code": 1, "tail": f"Traceback\n{line}\n"}
    assert judge(report, JOB) == (RunStatus.OUT_OF_MEMORY, line)


@given(
    st.sampled_from(["exit", "timeout", "cpu", "memory", "processes", "disk", "files"]),
    st.integers(-64, 255),
    st.text(),
)
def test_whatever_is_not_done_has_a_reason(ended, code, tail):
    status, reason = judge({"ended": ended, "code": code, "tail": tail}, JOB)
    assert (status is RunStatus.DONE) == (reason == "")
    assert (status is RunStatus.DONE) == (ended == "exit" and code == 0)


@given(st.binary(max_size=300))
def test_any_metrics_file_gives_a_count(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("out")
    (folder / "metrics.jsonl").write_bytes(data)
    assert tokens_read(folder) >= 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('{"tokens": 5}\n{"tokens": 9}\n', 9),
        ('{"tokens": 5}\n{"tokens": 9', 5),  # cut by a crash
        ('{"tokens": 5}\n{"loss": 1.0}\n[]\n', 5),
        ('{"tokens": -5}\n{"tokens": true}\n{"tokens": 1e300}\n{"tokens": "7"}\n', 0),
        ("[" * 100_000, 0),
        ("", 0),
    ],
)
def test_tokens_are_those_of_the_last_complete_line(tmp_path, text, tokens):
    (tmp_path / "metrics.jsonl").write_text(text)
    assert tokens_read(tmp_path) == tokens


def test_a_long_metrics_file_is_read_from_its_end(tmp_path):
    lines = "".join(json.dumps({"step": step, "tokens": step * 64}) + "\n" for step in range(20_000))
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert tokens_read(tmp_path) == 19_999 * 64


def test_links_and_pipes_are_not_read(tmp_path):
    (tmp_path / "elsewhere").write_text('{"tokens": 5}')
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    assert tokens_read(tmp_path) == 0
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert tokens_read(tmp_path) == 0
