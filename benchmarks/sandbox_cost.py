"""What each sandbox adds to a run: `python benchmarks/sandbox_cost.py --json`.

Runs of an empty script and of one that uses a preloaded torch, in turns over the sandboxes; times are from
submission to result, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from mendel.runs import ExecutorError, Job
from mendel.runs.local import LocalExecutor

SANDBOXES = ("none", "namespaces", "landlock", "bubblewrap")
SCRIPTS = {
    "empty script": ((), "pass"),
    "torch preloaded": (
        ("torch", "torch._dynamo", "numpy", "safetensors.torch"),
        "import torch; torch.ones(2) @ torch.ones(2)",
    ),
}


def measure(preload: tuple[str, ...], code: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of a run in each sandbox that works here."""
    executors: dict[str, LocalExecutor] = {}
    for name in SANDBOXES:
        try:
            executors[name] = LocalExecutor(preload=preload, workers=1, sandbox=name)
        except ExecutorError as error:
            print(f"{name}: left out: {error}")
    took: dict[str, list[float]] = {name: [] for name in executors}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        (source / "train.py").write_text(code)
        for number in range(rounds):
            for name, executor in executors.items():
                out = Path(folder) / f"{name}{number}"
                out.mkdir()
                job = Job(id=out.name, source=source, argv=("train.py",), out=out, timeout=60, memory=4e9)
                began = time.perf_counter()
                executor.submit(job)
                ((_, result),) = executor.wait(120)
                assert result.status.value == "done", result
                took[name].append(1000 * (time.perf_counter() - began))
    for executor in executors.values():
        executor.close()
    return {
        name: {"median_ms": statistics.median(times), "min_ms": min(times)} for name, times in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {what: measure(preload, code, args.rounds) for what, (preload, code) in SCRIPTS.items()}
    if args.json:
        print(json.dumps({"rounds": args.rounds, **found}, indent=1))
        return
    for what, row in found.items():
        cells = ", ".join(f"{name} {times['median_ms']:.0f} ms" for name, times in row.items())
        print(f"{what}: {cells}")


if __name__ == "__main__":
    main()
