"""Stores of runs with planted patterns: how many `mendel patterns` finds, and how many it invents.

    python benchmarks/planted_patterns.py --stores 200 --json > benchmarks/results/planted_patterns.json

Each store has its own knobs, design, noise and size. Planted: effects of single knobs, pairs whose effects
are not a sum, effects that start at a value of another knob, and rules by which runs fail; a quarter of the
stores has none. Sizes are drawn around what the tool says it detects, and told as ratios to it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np

BINS = (0.0, 1.0, 1.5, 2.0, np.inf)
"""Ratios of the planted size to the detectable one."""


@dataclass
class Store:
    columns: dict[str, np.ndarray]
    effect: np.ndarray
    truth: list[dict] = field(default_factory=list)


def knobs(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Knobs as they occur: learning rates on a logarithm, grids, switches, names, dependent widths."""
    drawn = {
        "lr": 10 ** rng.uniform(-4, -2, n),
        "weight_decay": rng.choice([0.0, 0.01, 0.1], n),
        "width": rng.choice([128, 256, 512, 1024], n),
        "depth": rng.integers(2, 13, n),
        "batch_size": rng.choice([32, 64, 128, 256, 512], n),
        "optimizer": rng.choice(["adamw", "muon", "sgd", "lion"], n),
        "activation": rng.choice(["gelu", "relu2"], n),
        "qk_norm": rng.choice([True, False], n),
        "dropout": rng.uniform(0, 0.3, n),
        "warmup_steps": rng.integers(0, 2000, n),
        "beta2": rng.choice([0.9, 0.95, 0.99, 0.999], n),
        "rope_base": 10 ** rng.uniform(3, 6, n),
        "init_std": rng.choice([0.01, 0.02, 0.04], n),
        "schedule": rng.choice(["cosine", "wsd", "linear"], n),
        "tie_embeddings": rng.choice([0, 1], n, p=[0.3, 0.7]),
        "grad_clip": rng.choice([0.5, 1.0, 5.0], n),
    }
    names = [str(one) for one in rng.permutation(list(drawn))[: rng.integers(6, len(drawn) + 1)]]
    return {name: drawn[name] for name in names}


def scale(x: np.ndarray) -> np.ndarray:
    """Numbers as 0 at their tenth percentile and 1 at their ninetieth, or of the logarithm."""
    x = x.astype(float)
    if x.min() > 0 and x.max() / x.min() >= 8:
        x = np.log2(x)
    low, high = np.quantile(x, [0.1, 0.9])
    return (x - low) / (high - low if high > low else 1.0)


def is_text(x: np.ndarray) -> bool:
    return x.dtype.kind in "UOb" or len(np.unique(x)) == 2


def switch(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """One level of a name, or a half of a switch."""
    return (x == rng.choice(np.unique(x))).astype(float)


def plant(rng: np.random.Generator, store: Store, unit: dict[str, float]) -> None:
    names = [str(one) for one in rng.permutation(list(store.columns))]
    numbers = [one for one in names if not is_text(store.columns[one])]
    texts = [one for one in names if is_text(store.columns[one])]
    size = lambda kind: float(unit[kind] * rng.uniform(0.7, 3.0) * rng.choice([-1, 1]))  # noqa: E731
    for _ in range(rng.integers(0, 4)):
        name = names.pop()
        x, much = store.columns[name], size("main")
        form = "levels" if is_text(x) else rng.choice(["line", "line", "bend"])
        shape = switch(rng, x) if form == "levels" else scale(x)
        store.effect += much * (shape if form != "bend" else 4 * (shape - 0.5) ** 2)
        store.truth.append({"kind": "main", "columns": [name], "form": str(form), "size": float(abs(much))})
    for _ in range(rng.integers(0, 3)):
        free = [one for one in names if one in store.columns]
        if len(free) < 2:
            return
        a, b = (names.pop() for _ in range(2))
        x, y = (
            switch(rng, store.columns[one]) if one in texts else scale(store.columns[one]) for one in (a, b)
        )
        much = size("interaction")
        store.effect += much * x * y
        store.truth.append({"kind": "interaction", "columns": sorted((a, b)), "size": float(abs(much))})
    left = [one for one in names if one in numbers]
    if left and len(names) > 1 and rng.random() < 0.5:
        on = left[0]
        names.remove(on)
        acting = names.pop()
        x, y = store.columns[acting], store.columns[on].astype(float)
        values = np.unique(y)
        inside = values[(values > np.quantile(y, 0.25)) & (values < np.quantile(y, 0.8))]
        if not len(inside):
            return
        above = y > rng.choice(inside) if rng.random() < 0.7 else y <= rng.choice(inside)
        if not 0.2 < above.mean() < 0.8:
            return
        much = size("interaction") / (2 * (above.mean() * (1 - above.mean())) ** 0.5)
        store.effect += much * (switch(rng, x) if acting in texts else scale(x)) * above
        ratio = 2 * (above.mean() * (1 - above.mean())) ** 0.5
        store.truth.append(
            {"kind": "regime", "columns": sorted((acting, on)), "size": float(abs(much) * ratio)}
        )


def noise(rng: np.random.Generator, n: int) -> tuple[str, np.ndarray]:
    kind = str(rng.choice(["normal", "normal", "heavy", "skewed", "unequal"]))
    draws = {
        "normal": rng.normal(size=n),
        "heavy": rng.standard_t(3, n) / 1.73,
        "skewed": (rng.gamma(2.0, 1.0, n) - 2) / 1.41,
        "unequal": rng.normal(size=n) * rng.choice([0.4, 1.35], n),
    }
    return kind, draws[kind]


def fail(rng: np.random.Generator, store: Store) -> np.ndarray:
    """Which runs fail: by a rule in half of the stores, by chance in some others."""
    n = len(store.effect)
    failed = rng.random(n) < rng.choice([0.0, 0.02, 0.05])
    kind = rng.choice(["none", "product", "corner", "above"], p=[0.4, 0.25, 0.2, 0.15])
    numbers = [one for one in store.columns if not is_text(store.columns[one])]
    if kind == "none" or len(numbers) < 2:
        return failed
    a, b = rng.choice(numbers, 2, replace=False)
    x, y = scale(store.columns[a]), scale(store.columns[b])
    where = {
        "product": x + y > np.quantile(x + y, 0.88),
        "corner": (x > np.quantile(x, 0.6)) & (y >= np.quantile(y, 0.7)),
        "above": x > np.quantile(x, 0.85),
    }[str(kind)]
    if not 0.04 < where.mean() < 0.4:
        return failed
    columns = [str(a)] if kind == "above" else sorted((str(a), str(b)))
    store.truth.append({"kind": "failure", "columns": columns, "form": str(kind), "size": float(where.sum())})
    return failed | (where & (rng.random(n) < rng.uniform(0.6, 1.0)))


def make(seed: int) -> tuple[dict[str, np.ndarray], Store, dict]:
    rng = np.random.default_rng([20261130, seed])
    n = int(rng.choice([150, 300, 600, 1200, 3000]))
    design = str(rng.choice(["random", "repeated", "campaigns"]))
    each = 3 if design == "repeated" else 1
    columns = knobs(rng, n // each)
    pure = seed % 4 == 0
    store = Store(columns, np.zeros(n // each))
    # Roughly what is detected with 25 hypotheses on 60 % of the runs.
    spread = (1 / each + (0 if each == 1 else 0.3)) ** 0.5
    unit = 2 * spread * 4.4 / (0.6 * n / each) ** 0.5
    if not pure:
        plant(rng, store, {"main": unit, "interaction": 2.2 * unit})
    failed = np.repeat(fail(rng, store) if not pure else rng.random(n // each) < 0.05, each)
    effect = np.repeat(store.effect, each)
    kind, wobble = noise(rng, n)
    if each > 1:  # settings differ by more than their knobs' effects: interactions too small to be seen
        wobble = wobble + np.repeat(rng.normal(0, 0.3, n // each), each)
    table = {name: np.repeat(x, each) for name, x in columns.items()}
    if design == "campaigns":
        which = rng.integers(0, 8, n)
        wobble = wobble + rng.normal(0, 1, 8)[which]
        table["campaign"] = np.array([f"c{one}" for one in which])
    table["seed"] = np.tile(np.arange(each), n // each) if each > 1 else rng.integers(0, 4, n)
    table["val_loss"] = np.where(failed, np.nan, 20 + effect + wobble)
    order = rng.permutation(n)
    about = {"seed": seed, "n": n, "design": design, "noise": kind, "pure": pure}
    return {name: x[order] for name, x in table.items()}, store, about


def real(store: Store, column: str) -> bool:
    """Whether a knob changes the noise-free mean, all others as they are."""
    x = store.columns[column]
    groups = (
        x
        if is_text(x) or len(np.unique(x)) < 8
        else np.digitize(x, np.quantile(x, np.linspace(0, 1, 7)[1:-1]))
    )
    if store.effect.var() == 0:
        return False
    return any(column in one["columns"] and one["kind"] != "failure" for one in store.truth) and bool(
        np.ptp([store.effect[groups == one].mean() for one in np.unique(groups)]) > 0
    )


def judge(seed: int) -> dict:
    import pyarrow as pa

    from mendel.knowledge.patterns.report import patterns
    from mendel.knowledge.table import Table

    columns, store, about = make(seed)
    table = Table("planted", pa.table({name: pa.array(x.tolist()) for name, x in columns.items()}))
    said = patterns(table, "val_loss")
    pairs = ("interaction", "regime")
    false, right = [], []
    for one in said["patterns"]:
        truths = [
            t
            for t in store.truth
            if sorted(one["columns"]) == t["columns"]
            and (t["kind"] == one["kind"] or (t["kind"] in pairs and one["kind"] in pairs))
        ]
        ok = (
            bool(truths)
            or one["kind"] == "scales"
            or (one["kind"] in ("main", "never") and real(store, one["columns"][0]))
        )
        # A rule of one knob of a planted pair is no invention.
        ok = (
            ok
            or one["kind"] == "failure"
            and any(t["kind"] == "failure" and set(one["columns"]) <= set(t["columns"]) for t in store.truth)
        )
        (right if ok else false).append({"kind": one["kind"], "columns": one["columns"], "q": one["q"]})
    rows = []
    for truth in store.truth:
        kinds = pairs if truth["kind"] in pairs else (truth["kind"],)
        found = [
            one
            for one in said["patterns"]
            if one["kind"] in kinds and sorted(one["columns"]) == truth["columns"]
        ]
        limit = limit_of(truth, said["detectable"])
        rows.append(
            {
                **truth,
                "ratio": float(truth["size"] / limit),
                "found": bool(found),
                "as": found[0]["kind"] if found else None,
            }
        )
    inert = [one["column"] for one in said["inert"]]
    acting = {column for one in store.truth if one["kind"] != "failure" for column in one["columns"]}
    return {
        **about, "planted": rows, "false": false, "right": len(right), "tried": said["tried"],
        "inert": len(inert), "inert_wrong": int(sum(one in acting for one in inert)),
        "nil": len(store.columns) - len(acting),
    }  # fmt: skip


def limit_of(truth: dict, detectable: dict) -> float:
    """The size that the tool says it detects, for these knobs; of a rule, that many failures."""
    if truth["kind"] == "failure":
        return float(detectable["failing_runs"])
    spread = [detectable["spread"].get(column, 0.5) for column in truth["columns"]]
    if truth["kind"] == "main":
        return detectable["by_knob"][truth["columns"][0]]
    return detectable["pair_of_even_switches"] * 0.25 / (spread[0] * spread[1])


def summary(results: list[dict]) -> dict:
    planted = [one for result in results for one in result["planted"]]
    by_kind = {}
    for kind in ("main", "interaction", "regime", "failure"):
        mine = [one for one in planted if one["kind"] == kind]
        by_kind[kind] = {
            f"{low:g} to {high:g}": [
                sum(one["found"] for one in mine if low <= one["ratio"] < high),
                sum(low <= one["ratio"] < high for one in mine),
            ]
            for low, high in zip(BINS, BINS[1:], strict=False)
        }
    above = [one for one in planted if one["ratio"] >= 1]
    shares = [len(one["false"]) / max(len(one["false"]) + one["right"], 1) for one in results]
    pure = [one for one in results if one["pure"]]
    pairs = [one for one in planted if one["kind"] in ("interaction", "regime") and one["found"]]
    return {
        "stores": len(results),
        "found_above_detectable": [sum(one["found"] for one in above), len(above)],
        "by_kind_and_ratio": by_kind,
        "named_right": [sum(one["kind"] == one["as"] for one in pairs), len(pairs)],
        "false_discovery_rate": float(np.mean(shares)),
        "false": sum(len(one["false"]) for one in results),
        "patterns": sum(len(one["false"]) + one["right"] for one in results),
        "false_by_kind": dict(Counter(false["kind"] for one in results for false in one["false"])),
        "pure_noise": [sum(bool(one["false"]) for one in pure), len(pure)],
        "inert": [
            sum(one["inert"] - one["inert_wrong"] for one in results),
            sum(one["nil"] for one in results),
        ],
        "inert_wrong": sum(one["inert_wrong"] for one in results),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first store")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="every store, too")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.stores)
    with ProcessPoolExecutor(options.workers) as pool:
        results = list(pool.map(judge, seeds))
    told = {"made": " ".join(["python", "benchmarks/planted_patterns.py", *sys.argv[1:]]), **summary(results)}
    print(json.dumps({"summary": told, "stores": results}) if options.json else json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
