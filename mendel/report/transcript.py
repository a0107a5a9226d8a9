"""The transcript of an idea: what each seat was asked and what it answered, in the order of asking.

Calls that an idea shares with others (the proposal, the forecasts) belong to each of them. All of it is
untrusted text: it is shown without control characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mendel.report.text import clean
from mendel.store import RESEARCH, Call, Campaign, Store

MOST_TEXT = 20_000
"""Characters of one message that are printed; `--json` has all."""


def transcript(store: Store, campaign: Campaign, idea: str) -> list[dict[str, Any]]:
    """The calls behind an idea, or by its id of a whole campaign, as plain values; empty where no model had a
    part in it."""
    whole = idea == campaign.id
    rounds = store.decisions([campaign.id], RESEARCH)[campaign.id]
    born = {key.removesuffix(RESEARCH) for key, kept in rounds.items() if idea in kept["ideas"]}

    def shares(call: Call) -> bool:
        number, _, what = call.task.partition("/")
        if what.startswith(("propose", "novelty", "forecast")):
            return number in born
        return call.answer is not None and f'"{idea}"' in json.dumps(call.answer).replace('\\"', '"')

    calls = [
        call
        for call in store.calls(campaign.id)
        if whole or call.idea == idea or (call.idea is None and shares(call))
    ]
    return [_plain(call) for call in calls]


def render(console: Console, calls: list[dict[str, Any]]) -> None:
    """Print a transcript."""
    for place, call in enumerate(calls):
        if place:
            console.print()
        head = f"{call['task']}, step {call['step']}"
        told = f"  {call['seat']} ({call['model']}): {call['state']}, {_spent(call)}"
        console.print(Text.assemble((head, "bold"), told), soft_wrap=True)
        for who, text in call["said"]:
            style = "green" if who in ("answer", "calls") else "cyan"
            console.print(Text(f"[{who}]", style=style))
            console.print(Text(clean(text, MOST_TEXT)), soft_wrap=True)


def said_by_researchers(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows on an idea: what each forecaster expected, and how an analyst explained what came of it."""
    rows = []
    if found["asked"]:
        rows.append(("by models", f"{found['asked']}; mendel show {found['id']} --transcript"))
    for one in found["forecasts"]:
        said = f"{one['mean']:+.2f} ± {one['sd']:.2f}, runs {one['p_runs']:.0%}: {one['reason']}"
        rows.append(("forecaster", f"{one['forecaster']}: {said}"))
    if told := found["explanation"]:
        titles = {"what_changed": "what changed", "effect": "effect", "where": "where", "next": "next"}
        rows += [(title, told[key]) for key, title in titles.items()]
        rows.append(("explained by", f"{told['by']}, prompt {told['prompt']}"))
    return rows


def asked_about(store: Store, campaign: Campaign, idea: str) -> str:
    """Which seats were asked about an idea, how often, and what that cost; empty where none was."""
    calls = store.calls(campaign.id, idea=idea)
    seats = {seat: sum(call.seat == seat for call in calls) for seat in dict.fromkeys(c.seat for c in calls)}
    listed = ", ".join(f"{seat} {count}" for seat, count in seats.items())
    return f"calls: {listed}; {sum(call.usage.dollars for call in calls):.3f} dollars" if calls else ""


def _plain(call: Call) -> dict[str, Any]:
    said = [("prompt", call.request["instructions"])] if call.request.get("instructions") else []
    said += [pair for message in call.request["messages"] for pair in _parts(message)]
    said += _parts(call.answer) if call.answer else [(call.state.value, call.error)]
    return {
        "id": call.id,
        "task": call.task,
        "step": call.step,
        "seat": call.seat,
        "prompt": call.request.get("prompt"),
        "model": call.model,
        "state": call.state.value,
        "attempts": call.attempts,
        "usage": vars(call.usage),
        "said": said,
    }


def _parts(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"user-prompt": "question", "text": "answer", "thinking": "thinks", "tool-call": "calls"}
    found = []
    for part in message["parts"]:
        kind = part["part_kind"]
        text = part.get("content") or ""
        if kind == "tool-call":
            text = f"{part['tool_name']} {json.dumps(part.get('args') or {})}"
        elif kind == "text" and text.startswith("{"):
            text = _indented(text)
        elif not isinstance(text, str):
            text = json.dumps(text, indent=1)
        found.append((names.get(kind, kind.replace("-", " ")), text))
    return found


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1)
    except ValueError:
        return text


def _spent(call: Mapping[str, Any]) -> str:
    usage = call["usage"]
    again = f", {call['attempts']} attempts" if call["attempts"] > 1 else ""
    return (
        f"{usage['input_tokens']:,} tokens read ({usage['cached_tokens']:,} cached), "
        f"{usage['output_tokens']:,} written, {usage['dollars']:.4f} dollars, {usage['seconds']:.1f} s{again}"
    )
