"""What trackers left behind is read as they meant it, and one damaged run costs no other."""

import math
import shutil
import sqlite3
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mendel.knowledge.importers import recognise
from mendel.knowledge.importers.run import Points, flat
from mendel.knowledge.importers.tensorboard import Run as EventRun
from mendel.knowledge.importers.wandb import BLOCK, HEADER, records
from mendel.knowledge.table import TableError
from tests.knowledge.imports import TRACKED, metrics, mlflow_database, points, read

LOSSES = [3.0 / (step + 1) for step in range(10)]


def source_of(kind, folder):
    return {
        "wandb": lambda: TRACKED / "wandb",
        "tensorboard": lambda: TRACKED / "tensorboard",
        "mlruns": lambda: TRACKED / "mlflow" / "mlruns",
        "mlflow.db": lambda: mlflow_database(folder),
    }[kind]()


@pytest.mark.parametrize("kind", ["wandb", "tensorboard", "mlruns", "mlflow.db"])
def test_two_runs_of_each_tracker_are_read_with_curves_configuration_and_status(kind, tmp_path):
    source = source_of(kind, tmp_path)
    assert recognise(source) == {"mlruns": "mlflow", "mlflow.db": "mlflow"}.get(kind, kind)
    runs, unread = read(source)
    assert sorted(runs) == ["seed-1", "seed-2"] and not unread
    first, second = runs["seed-1"], runs["seed-2"]
    assert [step for step, _ in points(first, "train/loss")] == list(range(10))
    assert [value for _, value in points(first, "train/loss")] == pytest.approx(LOSSES, rel=1e-7)
    assert math.isnan(points(second, "train/loss")[-1][1])
    assert (first.status, second.status) == ("finished", "failed")
    assert float(first.config["lr"]) == 0.003 and float(second.config["seed"]) == 2
    assert first.started is not None and first.started.year >= 2023
    assert first.note == second.note == ""


def test_wandb_nests_its_configuration_and_a_summary_without_a_history_is_a_last_point():
    runs, _ = read(TRACKED / "wandb")
    run = runs["seed-1"]
    assert (run.config["model.width"], run.config["model.act"], run.config["betas"]) == (
        64,
        "relu",
        "[0.9, 0.95]",
    )
    assert not any(key.startswith("_") for key in run.config)
    assert metrics(run) == ["best", "train/loss", "val/loss"]
    assert points(run, "best") == [(9, pytest.approx(3 / 9))]
    assert [step for step, _ in points(run, "val/loss")] == [4, 9]
    assert run.group == "letters" and run.host


def test_tensorboard_reads_tensors_and_the_kinds_of_hyperparameters():
    runs, _ = read(TRACKED / "tensorboard")
    assert runs["seed-1"].config == {"lr": 0.003, "seed": 1.0, "act": "relu", "bias": False}
    assert points(runs["seed-1"], "val/loss") == [(4, pytest.approx(0.7)), (9, pytest.approx(0.4))]


def test_hyperparameters_in_a_folder_named_by_the_time_belong_to_the_run_above(tmp_path):
    shutil.copytree(TRACKED / "tensorboard" / "seed-1", tmp_path / "run")
    shutil.copytree(TRACKED / "tensorboard" / "seed-2", tmp_path / "run" / "1700000000.25")
    runs, _ = read(tmp_path)
    assert list(runs) == ["run"] and runs["run"].config["seed"] == 2


def test_mlflow_keeps_infinities_commits_and_leaves_deleted_runs_out(tmp_path):
    file = mlflow_database(tmp_path)
    runs, _ = read(file)
    assert points(runs["seed-1"], "grad") == [(9, math.inf)]
    assert (runs["seed-1"].commit, runs["seed-1"].group) == ("abc123", "letters")
    with sqlite3.connect(file) as db:
        db.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'seed-1'")
    assert list(read(file)[0]) == ["seed-2"]


def test_the_same_step_logged_again_counts_as_last_logged():
    curves = Points()
    for step, value in ((0, 9.0), (1, 8.0), (2, 7.0), (1, 1.0), (2, 2.0)):
        curves.add("loss", step, value)
    (curve,) = curves.curves()
    assert curve.steps.tolist() == [0, 1, 2] and curve.values.tolist() == [9.0, 1.0, 2.0]


# --- what is damaged ----------------------------------------------------------------------------------------


def cut(source, target, name, keep):
    """A copy of a source in which the file `name` keeps only a share of its bytes."""
    shutil.copytree(source, target)
    (file,) = target.rglob(name)
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data))])


@pytest.mark.parametrize("keep", [0.5, 0.64, 0.7, 0.76])
@pytest.mark.parametrize(("kind", "name"), [("wandb", "run-*g46t4z1g.wandb"), ("tensorboard", "*.vm.*.1")])
def test_a_half_written_file_keeps_the_points_before_its_end_and_says_so(kind, name, keep, tmp_path):
    cut(TRACKED / kind, tmp_path / "cut", name, keep)
    runs, unread = read(tmp_path / "cut")
    whole, half = runs["seed-1"], runs["seed-2"]
    assert not unread and not whole.note
    assert 0 < len(points(half, "train/loss")) <= 10
    assert "within a record" in half.note or "ends or is damaged" in half.note
    assert "what comes before" in half.note and name.rpartition("*")[2] in half.note
    assert half.status in ("running", "unknown")


@pytest.mark.parametrize(("kind", "name"), [("wandb", "run-*g46t4z1g.wandb"), ("tensorboard", "*.vm.*.1")])
def test_a_file_that_is_none_is_named_and_the_other_run_is_kept(kind, name, tmp_path):
    shutil.copytree(TRACKED / kind, tmp_path / "bad")
    (file,) = (tmp_path / "bad").rglob(name)
    file.write_bytes(struct.pack("<Q4x", 20) + b"\xff" * 40)
    runs, unread = read(tmp_path / "bad")
    assert list(runs) == ["seed-1"]
    (one,) = unread
    assert "seed-2" in one.name or file.name in one.name
    assert "damaged" in one.reason or "does not begin" in one.reason


def test_a_flipped_byte_in_a_wandb_log_is_seen_by_its_checksum(tmp_path):
    shutil.copytree(TRACKED / "wandb", tmp_path / "w")
    (file,) = (tmp_path / "w").rglob("run-*g46t4z1g.wandb")
    data = bytearray(file.read_bytes())
    data[2500] ^= 1
    file.write_bytes(data)
    runs, _ = read(tmp_path / "w")
    assert "damaged at byte" in runs["seed-2"].note


def test_a_run_of_mlflow_without_its_meta_file_is_named_and_a_bad_line_is_left_out(tmp_path):
    shutil.copytree(TRACKED / "mlflow" / "mlruns", tmp_path / "mlruns")
    first, second = sorted(
        meta.parent for meta in tmp_path.rglob("meta.yaml") if (meta.parent / "metrics").is_dir()
    )
    (first / "meta.yaml").unlink()
    with (second / "metrics" / "train" / "loss").open("a") as stream:
        stream.write("17960257 0.")
    runs, unread = read(tmp_path / "mlruns")
    assert [(one.name, one.reason) for one in unread] == [(f"run {first.name}", "meta.yaml is missing")]
    (run,) = runs.values()
    assert run.note.startswith("train/loss: line 11 left out") and len(points(run, "train/loss")) == 10


def test_a_folder_that_nobody_knows_says_what_is_known(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(
        TableError, match="nothing in it is known.*results.tsv.*TensorBoard.*mlflow.db.*wandb"
    ):
        recognise(tmp_path)


# --- round trips --------------------------------------------------------------------------------------------


def varint(value):
    value &= (1 << 64) - 1
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def field(number, data):
    """A field of a message as protocol buffers write it."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(step, tag, value):
    inner = field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    data = b"\x09" + struct.pack("<d", 1.7e9) + field(2, step) + field(5, field(1, inner))
    return struct.pack("<Q4x", len(data)) + data + b"\0" * 4


STEPS = st.integers(-(2**40), 2**40)
FLOATS = st.floats(width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(STEPS, st.sampled_from(["loss", "a/b", "größe", "x" * 200]), FLOATS), max_size=30))
def test_scalar_events_come_back_as_written(tmp_path_factory, logged):
    file = tmp_path_factory.mktemp("events") / "events.out.tfevents.1"
    file.write_bytes(b"".join(event(*one) for one in logged))
    run = EventRun()
    run.read(file)
    want: dict[str, dict[int, float]] = {}
    for step, tag, value in logged:
        want.setdefault(tag, {})[step] = value
    found = {curve.metric: (curve.steps.tolist(), curve.values.tolist()) for curve in run.points.curves()}
    assert found.keys() == want.keys()
    for tag, curve in want.items():
        assert found[tag][0] == sorted(curve)
        assert repr(found[tag][1]) == repr([curve[step] for step in sorted(curve)])  # NaN is not itself


def logged_as_leveldb(messages):
    """Records cut into pieces at the borders of blocks, as W&B's writer does."""
    import zlib

    out = bytearray(b":W&B\xe1\xbe\x00")
    for message in messages:
        rest, first = message, True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += b"\0" * left
                continue
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            first = False
            if not rest:
                break
    return bytes(out)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3 * BLOCK), max_size=6), st.integers(0, 255))
@example([BLOCK - HEADER - 7 - 3, 10], 1)  # no room for the head of a piece
@example([BLOCK - HEADER - 7 - 7, 10], 1)  # room for the head and nothing else
def test_records_of_any_length_come_back_over_the_borders_of_blocks(lengths, byte):
    messages = [bytes([byte]) * length for length in lengths]
    data = logged_as_leveldb(messages)
    assert [record for _, record in records(data)] == messages
    if messages and len(data) > HEADER:  # without its last byte, the last one is not whole
        assert [record for _, record in records(data[:-1])][: len(messages) - 1] == messages[:-1]


@given(
    st.recursive(
        st.integers() | st.text(max_size=5) | st.booleans(),
        lambda inner: st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_nested_configuration_loses_no_value(config):
    def leaves(value):
        if isinstance(value, dict) and value:
            return sum(map(leaves, value.values()))
        return 1

    if isinstance(config, dict) and config:
        assert len(flat(config)) <= leaves(config)
        assert all(isinstance(value, bool | int | float | str) for value in flat(config).values())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 912), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damage_of_an_event_file_raises(tmp_path_factory, changes):
    (file,) = (TRACKED / "tensorboard" / "seed-1").iterdir()
    data = bytearray(file.read_bytes())
    for place, byte in changes:
        data[place] = byte
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / "events.out.tfevents.1").write_bytes(data)
    runs, unread = read(folder, "tensorboard")
    assert len(runs) + len(unread) == 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([2, 3, 5, 17, 18, 26]))
def test_no_record_of_a_wandb_log_raises(tmp_path_factory, data, number):
    file = tmp_path_factory.getbasetemp() / "run-x.wandb"
    file.write_bytes(logged_as_leveldb([field(number, data)]))
    runs, unread = read(file)
    assert len(runs) + len(unread) == 1
