"""The docs' pictures are drawn from result files, whatever is missing in them."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from make_pictures import compute, main  # noqa: E402


def rung(number, losses):
    row = {"rung": number, "flops": 2e11 * 4**number, "runs": len(losses), "bits_per_byte": losses}
    return row | {"mean": sum(losses) / len(losses)}


LADDER = {
    "recipe": "modern",
    "currency": "FLOPs",
    "rungs": [rung(0, [3.0, 3.1]), rung(1, [2.6])],
    "top": rung(2, [2.3]),
    "predict": 2,
    "predicted": 2.31,
    "predicted_low": 2.25,
    "predicted_high": 2.4,
    "relative_error": 0.004,
    "curve": [
        {"flops": 2e11 * 4**x, "value": 3 - 0.35 * x, "low": 2.9 - 0.35 * x, "high": 3.1 - 0.35 * x}
        for x in (0, 1, 2)
    ],
}
UNMEASURED = LADDER | {"recipe": "gpt2", "top": None, "relative_error": None}
POINTS = [
    {"factor": 0.5, "bits_per_byte": 2.5, "se": 0.01},
    {"factor": 1.0, "bits_per_byte": 2.4, "se": None},
    {"factor": 2.0, "bits_per_byte": None, "se": None},
]
SWEEP = {
    "rung": 0,
    "flops": 2e11,
    "knobs": {"lr": 0.02, "muon_lr": 0.01},
    "best_factor": 1.0,
    "sweep": POINTS,
}
TRANSFER = {"recipes": {"gpt2": {"rungs": [SWEEP, SWEEP | {"rung": 1}]}, "modern": {"rungs": [SWEEP]}}}
EFFECT = {"value": -0.1, "low": -0.2, "high": 0.1, "all_low": -0.3, "all_high": 0.2}
ROW = {"log2_cm": EFFECT, "bits_per_byte": EFFECT, "aliases": [], "uses_failures": False}
ABLATION = {
    "scale": "log2_cm",
    "factors": [{"name": "a"}, {"name": "b"}],
    "main": [ROW | {"kind": "main", "factors": [name]} for name in "ab"],
    "interactions": [ROW | {"kind": "interaction", "factors": ["a", "b"]}],
    "shapley": {"parts": []},
}


@pytest.mark.parametrize(
    ("picture", "results"),
    [("ladder", [LADDER, UNMEASURED]), ("transfer", [TRANSFER]), ("ablate", [ABLATION])],
    ids=str,
)
def test_a_picture_comes_from_result_files(tmp_path, picture, results):
    files = []
    for place, result in enumerate(results):
        files.append(tmp_path / f"{place}.json")
        files[-1].write_text(json.dumps(result))
    main([picture, *map(str, files), "--out", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_compute_is_written_to_two_digits():
    assert [compute(value) for value in (2e11, 3.2e12, 9.96e11)] == ["2e11", "3.2e12", "1e12"]
