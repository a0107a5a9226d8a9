"""An agent's idea from its patch to its verdict, in a real campaign that is stopped and goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
import toy
from mcp import Client
from mcp.client.stdio import stdio_client

from mendel.agents.desk import Desk
from mendel.campaign.config import Settings
from mendel.records import Shard
from mendel.store import Store, StoreError
from tests.agents.client import COMMAND, call, environment, everything, server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = """\
testbed = "testbed"
data = "data"
ideas = "ideas.toml"
budget = "80runs"
workers = 2

[policy]
curve_seeds = 2
max_pairs = 6
estimate_pairs = 3
verify_pairs = 3
blank_share = 0.0
forward = 0
"""
SPIN = 0.05
"""CPU seconds of a run, so that its campaign can be stopped long before it has spent its budget."""
BLANK = "null-one"
NAME = "more-efficient"


@pytest.fixture(scope="module")
def folder(toy_data, tmp_path_factory) -> Path:
    """A lab whose trainer is a formula in processes of its own, and ideas of the user's."""
    place = tmp_path_factory.mktemp("campaign")
    testbed = shutil.copytree(toy.TESTBED, place / "testbed", ignore=shutil.ignore_patterns("__pycache__"))
    script = testbed / "train.py"
    script.write_text(script.read_text().replace('"spin": 0.0', f'"spin": {SPIN}'))
    shutil.copytree(toy_data, place / "data")
    toy.write_ideas(place / "ideas.toml", [*toy.GOOD[:1], *toy.NULL])
    (place / "mendel.toml").write_text(SETTINGS)
    return place


def run(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, "run", "--json"], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )


def begun(folder: Path) -> bool:
    """Whether the campaign has said its first lines."""
    try:
        with Store(folder / ".mendel") as store:
            return len(store.events(store.campaign().id)) >= 2
    except StoreError:
        return False


async def propose(client: Any) -> int:
    """Read the code, write a patch against it, add it; the event to watch from."""
    found = await call(client, "search_source", text="EFFICIENCY = 1.0")
    path, line = re.search(r"^([\w.]+):(\d+):", found["text"], re.MULTILINE).groups()
    read = await call(client, "read_source", path=path, first_line=int(line))
    search = "EFFICIENCY = 1.0"
    assert read["text"].count(search) == 1
    listed = await call(client, "list_source")
    assert [file["path"] for file in listed["files"] if file["editable"]] == [path]
    asked = {
        "name": NAME,
        "idea_class": "optimiser",
        "hypothesis": "The same loss takes two thirds of the tokens.",
        "mechanism": "A larger efficiency.",
        "citation": "none",
        "forecast_mean": 0.5,
        "forecast_sd": 0.2,
        "edits": [{"path": path, "search": search, "replace": "EFFICIENCY = 1.5"}],
    }
    assert (await call(client, "add_idea", **asked, dry_run=True))["fits"]
    added = await call(client, "add_idea", **asked)
    assert added["added"]
    return added["after"]


async def wait(client: Any, after: int, done: Any) -> tuple[list[str], dict]:
    """Watch until the idea is where `done` says, or the campaign has ended; all messages on the way, and
    what became of the idea."""
    messages: list[str] = []
    while True:
        news = await call(client, "watch", after=after, ideas=[NAME], seconds=20)
        after = news["last"]
        messages += [event["message"] for event in news["events"]]
        if done(news) or news["state"] == "finished":
            return messages, news["ideas"][0]


def secrets(store: Store, campaign: str) -> set[str]:
    """Every number of the held-out shard that the store holds, as JSON has it."""
    numbers = set()
    for one in store.runs(campaign):
        if one.spec.shard is Shard.HELD_OUT and one.result:
            numbers |= {one.result.bits_per_byte, *one.result.windows, *one.result.beside.values()}
    plans = {plan.id for plan in store.plans(campaign) if plan.shard is Shard.HELD_OUT}
    for verdict in store.verdicts(campaign):
        if verdict.plan in plans and verdict.difference and verdict.log2_cm:
            for interval in (verdict.difference, verdict.log2_cm):
                numbers |= {interval.value, interval.low, interval.high}
    return {json.dumps(number) for number in numbers if number}


def check_told(folder: Path, held_out: bool | None) -> None:
    """That no tool gives anything away, as the campaign stands; `held_out`: whether confirmation has begun,
    None where the clock says."""
    with Store(folder / ".mendel") as store:
        campaign = store.campaign()
        told = everything(Desk(store, Settings(root=store.root), "claude"), campaign.id)
        text = "".join(told.values())
        numbers = secrets(store, campaign.id)
        assert held_out is None or (len(numbers) > 50) is held_out
        assert not [number for number in numbers if len(number) > 6 and number in text]
        hidden = [blank for blank in store.blanks(campaign.id) if blank.unblinded is None]
        assert hidden or held_out
        for blank in hidden:
            detail = json.loads(told[f"idea {blank.name}"])
            assert detail["idea"]["planted"] is None and detail["patch"] == "" == detail["change"]
            news = json.loads(told[f"watch {blank.name}"])
            assert news["ideas"][0]["planted"] is None and "planted" not in news["ideas"][0]["note"]
            said = "".join(event["message"] for event in news["events"] if event["idea"] == blank.name)
            assert "planted" not in said
        seeds = {str(one.spec.seed) for one in store.runs(campaign.id) if one.spec.seed > 10_000}
        assert not [seed for seed in seeds if re.search(rf"\b{seed}\b", text)]


def test_an_agents_idea_is_judged_by_a_real_campaign(folder):
    first = run(folder)
    toy.wait_until(lambda: begun(folder), 120)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    with Store(folder / ".mendel") as store:
        campaign = store.campaign().id
        assert not store.plans(campaign), "it was stopped too late for the idea to come first"
        store.add_blanks(campaign, {BLANK: "initial stream"})

    async def session() -> tuple[list[str], dict, dict]:
        async with Client(stdio_client(server(folder, "--agent", "claude"))) as client:
            after = await propose(client)
            check_told(folder, held_out=False)
            second = run(folder)
            try:
                messages, _ = await wait(client, after, lambda news: news["ideas"][0]["verdicts"])
                check_told(folder, held_out=None)
                more, became = await wait(client, after, lambda _: False)
                out, _ = second.communicate(timeout=120)
            finally:
                if second.poll() is None:
                    second.send_signal(signal.SIGINT)
                    second.communicate(timeout=60)
            detail = await call(client, "idea", name=NAME)
            found = await call(client, "findings")
            assert second.returncode == 0
            assert json.loads(out)["runs"] <= 80
            return [*messages, *more], became, {**detail, "findings": found["findings"]}

    messages, became, detail = anyio.run(session)
    assert f"{NAME}: added by claude" not in messages, "that was before"
    assert any(message.startswith("round 0: screened") for message in messages)
    assert detail["idea"]["proposer"] == "claude" and detail["idea"]["state"] == "adopted"
    assert "replace = '''EFFICIENCY = 1.5'''" in detail["patch"]
    assert "+EFFICIENCY = 1.5" in detail["change"]
    kinds = [verdict.partition(" after")[0] for verdict in became["verdicts"]]
    assert kinds == ["screen: no difference shown", "confirm: better"]
    assert became["finding"].startswith("CM 1.")
    assert 1 < detail["finding"]["cm_low"] < 1.5 < detail["finding"]["cm_high"]
    assert NAME in [finding["idea"] for finding in detail["findings"]]
    check_told(folder, held_out=True)
