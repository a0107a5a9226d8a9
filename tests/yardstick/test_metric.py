"""The loss as a run itself reports it, read from untrusted files."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import Metric
from mendel.yardstick import NoMetric, read_metric

PRINTED = Metric(pattern=r"val loss ([-\d.einfa]+)", unit="nats per token")
WRITTEN = Metric(file="m.jsonl", key="val")


@pytest.fixture
def run(tmp_path):
    """run(metric, log, **files): the loss read from a run that printed `log` and wrote the files."""

    def read(metric, log="", **files):
        for name, text in files.items():
            (tmp_path / f"{name}.jsonl").write_text(text)
        (tmp_path / "train.log").write_text(log)
        return read_metric(metric, tmp_path, tmp_path / "train.log")

    return read


def test_the_last_match_counts(run):
    assert run(PRINTED, "step 0: val loss 4.2\nstep 10: val loss 3.25\nbye\n") == 3.25


def test_a_line_begins_where_the_pattern_says(run):
    assert run(Metric(pattern=r"^val_bpb:\s+([\d.]+)"), "best val_bpb: 9\nval_bpb:   1.5\n") == 1.5


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_file_is_read_as_it_was_written(tmp_path_factory, value):
    out = tmp_path_factory.mktemp("run")
    (out / "m.jsonl").write_text(f"{json.dumps({'val': 1.0})}\n{json.dumps({'val': value})}\n")
    assert read_metric(Metric(file="m.jsonl", key="val"), out, out / "train.log") == value


def test_an_object_over_several_lines_and_one_inside_another(run):
    text = json.dumps({"eval": {"loss": 2.5}, "val/loss": 3.5}, indent=2)
    assert run(Metric(file="m.jsonl", key="eval.loss"), m=text) == 2.5
    assert run(Metric(file="m.jsonl", key="val/loss"), m=text) == 3.5


def test_lines_without_the_key_are_passed_by(run):
    assert run(Metric(file="m.jsonl", key="val"), m='{"val": 2}\n{"train": 1}\nnot json\n') == 2.0


def test_a_loss_that_is_not_finite_is_told_as_it_is(run):
    assert math.isnan(run(PRINTED, "val loss nan"))
    assert run(PRINTED, "val loss inf") == math.inf


@pytest.mark.parametrize(
    ("metric", "log", "files", "message"),
    [
        (PRINTED, "nothing", {}, "nothing that it printed matches metric.pattern 'val loss"),
        (PRINTED, "val loss ...", {}, "which is no number"),
        (WRITTEN, "", {}, "it wrote no 'm.jsonl'"),
        (WRITTEN, "", {"m": '{"train": 1, "step": 2}'}, "'val' is nowhere in 'm.jsonl' (train, step)"),
        (WRITTEN, "", {"m": '{"val": "low"}'}, "m.jsonl: val gave 'low', which is no number"),
        (WRITTEN, "", {"m": '{"val": true}'}, "which is no number"),
    ],
)  # fmt: skip
def test_where_there_is_none_it_says_where_it_was_looked_for(run, metric, log, files, message):
    with pytest.raises(NoMetric) as error:
        run(metric, log, **files)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret.json").write_text('{"val": 0.1}')
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.jsonl").symlink_to(tmp_path / "secret.json")
    with pytest.raises(NoMetric, match="no plain file"):
        read_metric(Metric(file="m.jsonl", key="val"), out, out / "train.log")
