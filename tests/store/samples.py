"""Records that look like those of a campaign."""

from mendel.records import (
    Edit,
    Fingerprint,
    Forecast,
    Idea,
    Interval,
    Patch,
    Recipe,
    RunResult,
    RunSpec,
    RunStatus,
    Shard,
)

FINGERPRINT = Fingerprint(
    device="cpu",
    instruction_set="avx2",
    threads=1,
    precision="float32",
    libraries={"torch": "2.13.0"},
    corpus="c0ffee",
)
RECIPE = Recipe(
    testbed="gpt", tree="abc", base="gpt2", overrides={"lr": 3e-4, "qk_norm": True, "act": "gelu"}
)


def an_idea(name="rmsnorm", **changes):
    fields = {
        "name": name,
        "idea_class": "architecture",
        "hypothesis": "RMSNorm costs less than LayerNorm",
        "mechanism": "no mean to subtract",
        "citation": "Zhang and Sennrich 2019",
        "forecast": Forecast(mean=0.1, sd=0.2),
        "patch": Patch(edits=(Edit(path="model.py", search="LayerNorm", replace="RMSNorm"),), slot="norm"),
    }
    return Idea(**(fields | changes))


def a_run(seed=0, shard=Shard.VALIDATION, recipe=RECIPE.id):
    return RunSpec(recipe=recipe, rung=0, seed=seed, tokens=1000, shard=shard, fingerprint=FINGERPRINT.id)


def a_result(bits_per_byte=2.5, **changes):
    fields = {"tokens": 1000, "train_seconds": 3.0, "cpu_seconds": 2.9, "score_seconds": 0.5}
    return RunResult(status=RunStatus.DONE, bits_per_byte=bits_per_byte, **(fields | changes))


def an_interval(value=0.1, **changes):
    return Interval(**({"value": value, "low": value - 0.05, "high": value + 0.05} | changes))


def start(store, name="trial"):
    return store.create_campaign(name, 7, "gpt", "gpt2", {"budget": "20m"}, FINGERPRINT).id
