"""What the search for leaks lets through and what it stops (docs/data.md).

    python benchmarks/leaks.py search            pieces shared with other people's code; speed
    python benchmarks/leaks.py models [--seeds 5] --out FILE   trains honest changes and memorisers
    python benchmarks/leaks.py resample FILE     false alarms and power, from such a file

`models` takes about six seconds of one core for each of its 22 runs per seed. The corpus is built in --root.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from mendel.campaign.scoring import SCORE_LENGTH, SCORE_WINDOWS, TRAIN_WINDOWS
from mendel.records import Shard
from mendel.yardstick import build_corpus, memorised, windows
from mendel.yardstick.grams import SIZE, hashes, visible_copies
from mendel.yardstick.leaks import sealed_text
from mendel.yardstick.sealed import SEALED, interpreter_folders, sealed_paths

TRAINER = Path(__file__).parents[1] / "mendel" / "testbeds" / "gpt"
HONEST = {
    "swiglu": "activation=swiglu", "relu2": "activation=relu2", "rope": "positions=rope",
    "nopos": "positions=none", "muon": "optimizer=muon", "lr": "lr=2e-3", "wd0": "weight_decay=0.0",
    "const": "schedule=constant", "batch16": "batch=16", "batch64": "batch=64",
    "ctx64": "context=64 batch=16", "ctx16": "context=16 batch=64", "untied": "tied=False", "modern": "",
    "sympyonly": "mixture=sympy:1", "nx": "mixture=sympy:1,networkx:3,mpmath:1", "dedup": "deduplicate=near",
    "docs": "packing=documents",
}  # fmt: skip
MEMORISERS = ("seal1", "seal2", "seal3")
"""Trained on the validation file; on its last 100 kB and its canaries; on these and as much training text."""
TEXTS = ("scored", "train", "canary", "decoy")


def search(root: Path) -> None:
    corpus = build_corpus("default", root)
    began = time.process_time()
    sealed = sealed_text(corpus)
    print(f"lookup of {len(sealed.known):,} runs: {time.process_time() - began:.2f} s of one core")
    site = Path(np.__file__).parents[1]
    total, longest, where = 0, 0, ""
    for path in site.rglob("*.py"):
        if path.relative_to(site).parts[0] in {name.split("/")[0] for name in SEALED} | {"mpmath"}:
            continue
        data = np.frombuffer(path.read_bytes(), np.uint8)
        total += len(data)
        at = sealed.known.has(hashes(data))
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
            if len(run) and len(run) + SIZE - 1 > longest:
                longest, where = len(run) + SIZE - 1, str(path.relative_to(site))
    print(f"{total / 1e6:.0f} MB of other Python: the longest shared piece has {longest} bytes, in {where}")
    hidden = sealed_paths()
    began = time.process_time()
    found = visible_copies(sealed.known, sorted({sys.prefix, *interpreter_folders(sys.executable)}))
    seconds = time.process_time() - began
    outside = [c for c in found.copies if not any(Path(c.path).is_relative_to(path) for path in hidden)]
    print(
        f"{found.files:,} files, {found.bytes / 1e9:.1f} GB, {found.bytes / seconds / 1e6:.0f} MB/s: "
        f"{len(found.copies)} hold sealed text, outside {len(hidden)} covered paths at most "
        f"{max((copy.pieces for copy in outside), default=0)} piece(s) in a file"
    )
    noise = np.random.default_rng(0).normal(size=500_000).astype("<f4").tobytes()
    for name, data in (("weights", noise), ("code", corpus.train_text()[:1_000_000].tobytes())):
        began = time.process_time()
        sealed.find(data)
        print(f"{name}: {(time.process_time() - began) / len(data) * 1e6:.2f} s per megabyte")


def models(root: Path, seeds: int, out: Path) -> None:
    sys.path.insert(0, str(TRAINER))
    import score
    import torch

    torch.set_num_threads(1)
    corpus = build_corpus("default", root)
    sealed = corpus.shard_file(Shard.VALIDATION).read_bytes()
    half = corpus.train_text()[:100_000].tobytes()
    data = dict(zip(MEMORISERS, (sealed, sealed[-100_000:], half + sealed[-100_000:]), strict=True))
    for name, text in data.items():
        (root / name).write_bytes(text)
    scored = windows(corpus.shard_text(Shard.VALIDATION), SCORE_WINDOWS, SCORE_LENGTH, seed=0)
    train = windows(corpus.train_text(), TRAIN_WINDOWS, SCORE_LENGTH, seed=0)
    runs = []
    for seed in range(1, seeds + 1):
        for name in ("control", *HONEST, *MEMORISERS):
            folder = root / "run"
            shutil.rmtree(folder, ignore_errors=True)
            text = root / name if name in MEMORISERS else corpus.train_file
            command = [sys.executable, str(TRAINER / "train.py"), "--seed", str(seed), "--out", str(folder)]
            command += ["--data", str(text), "--recipe", "modern" if name == "modern" else "gpt2"]
            command += [part for knob in HONEST.get(name, "").split() for part in ("--set", knob)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            model = score.load(folder)
            asked = {"scored": scored, "train": train, **corpus.canary_rows(Shard.VALIDATION)}
            losses = {
                text: float(-model(rows.astype(np.int64)).mean() / np.log(2)) for text, rows in asked.items()
            }
            runs.append({"seed": seed, "idea": name, **losses})
            made = {"command": " ".join(sys.argv), "corpus": corpus.hash, "torch": torch.__version__}
            out.write_text(json.dumps({"made": made, "runs": runs}, indent=1))


def resample(file: Path, draws: int = 1500) -> None:
    by_idea: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    for run in json.loads(file.read_text())["runs"]:
        by_idea[run["idea"]][run["seed"]] = {text: run[text] for text in TEXTS}
    control = by_idea.pop("control")
    left = []
    for idea, found in by_idea.items():
        pairs = [(control[seed], found[seed]) for seed in found]
        gains = np.array([[before[text] - after[text] for text in TEXTS] for before, after in pairs])
        audit = memorised(pairs, epochs=0.1)
        shown = ", ".join(f"{text} {gain:+.3f}" for text, gain in zip(TEXTS, gains.mean(0), strict=True))
        print(f"{idea:10} {len(pairs)} pairs, gains: {shown}; {'passes' if audit.passed else 'is stopped'}")
        if idea not in MEMORISERS:
            left += list((gains[:, :2] - gains[:, :2].mean(0)) * np.sqrt(len(pairs) / (len(pairs) - 1)))
    noise, draw = np.array(left), np.random.default_rng(0)
    for count in (5, 8, 12):
        for scored, train in ((0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.05, 0), (0.1, 0), (0.15, 0), (0.2, 0)):
            stopped = 0
            for _ in range(draws):
                lucks = noise[draw.integers(0, len(noise), count)]
                pairs = [
                    ({"scored": 3.2, "train": 3.3}, {"scored": 3.2 - scored - a, "train": 3.3 - train - b})
                    for a, b in lucks
                ]
                stopped += not memorised(pairs, epochs=0.1).passed
            print(f"{count:2} pairs, gain {scored:.2f} on sealed, {train:.2f} on training text: "
                  f"{100 * stopped / draws:.1f} % stopped")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("search", "models", "resample"))
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--root", type=Path, default=Path("leaks"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("leaks.json"))
    args = parser.parse_args()
    args.root.mkdir(parents=True, exist_ok=True)
    if args.what == "search":
        search(args.root)
    elif args.what == "models":
        models(args.root, args.seeds, args.out)
    else:
        resample(args.file or args.out)


if __name__ == "__main__":
    main()
