"""A team of researchers who answer by script, for the loopback server and for `scripted_model`.

It proposes, writes, debugs, forecasts, explains and remembers well enough to carry a whole campaign without
a key. Each seat is a method that gets the question, what was sent back to it, and the request, and returns
plain values or an `Answer`; what it was asked stands in `asked`. Tests replace what they are about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mendel.researchers.seats import SEATS
from mendel.testing.messages_records import Answer, Request, blocks, system_text, text_of

Values = dict[str, Any]
FORECAST: Values = {"mean": 0.3, "sd": 0.3, "p_runs": 0.9}
SENT_BACK = "retry_feedback"
"""In what the library says to a model whose answer was sent back."""


def proposal(name: str, change: str, idea_class: str = "optimiser", **more: Any) -> Values:
    """An idea as a proposer gives it."""
    words = {"hypothesis": f"{name} helps.", "mechanism": f"{name} is efficient.", "prediction": "A gain."}
    words |= {"refuted_by": "No gain.", "citation": ""}
    return {"name": name, "idea_class": idea_class, "change": change, **words, "forecast": FORECAST, **more}


def edit(search: str, replace: str, path: str = "train.py") -> Values:
    """A replacement as an engineer gives it."""
    return {"path": path, "search": search, "replace": replace}


def change(*edits: Values, **settings: Any) -> Values:
    """A change as an engineer gives it."""
    listed = [{"key": key, "value": value} for key, value in settings.items()]
    return {"edits": list(edits), "settings": listed, "notes": ""}


def repair(made: Values, reason: str, broken: bool = False) -> Values:
    """A repair as a debugger gives it."""
    return {**made, "reason": reason, "broken": broken}


class Team:
    """`proposals`: those before each round; `changes` and `repairs`: patches by name of an idea."""

    def __init__(
        self,
        proposals: Sequence[Sequence[Values]] = (),
        changes: dict[str, Values] | None = None,
        repairs: dict[str, Values] | None = None,
    ) -> None:
        self.proposals = [list(ideas) for ideas in proposals]
        self.changes, self.repairs = dict(changes or {}), dict(repairs or {})
        self.asked: list[tuple[str, str]] = []
        """(seat, question) of every request."""

    def answer(self, request: Request) -> Answer:
        """What the seat that is asked says. ValueError where the request is of no seat."""
        system = system_text(request)
        seat = next((one.name for one in SEATS if one.prompt.text in system), "")
        if not seat:
            raise ValueError(f"no seat has a prompt that begins {system[:60]!r}")
        said = [text_of(message["content"]) for message in request["messages"] if message["role"] == "user"]
        back = [text for text in said[1:] if SENT_BACK in text]
        self.asked.append((seat, said[0]))
        found = getattr(self, seat)(said[0], back, request)
        return found if isinstance(found, Answer) else Answer.output(found)

    def count(self, seat: str) -> int:
        """How often a seat was asked."""
        return sum(name == seat for name, _ in self.asked)

    # --- seats ------------------------------------------------------------------------------------------

    def proposer(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        number = int(_first(r"for round (\d+)", question))
        return {"ideas": self.proposals[number] if number < len(self.proposals) else []}

    def forecaster(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        names = re.findall(r"^## (\S+) \(", question, re.MULTILINE)
        return {"forecasts": [{**FORECAST, "mean": 0.1, "idea": name, "reason": "a guess"} for name in names]}

    def engineer(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        name = _first(r"^(\S+) \(", question)
        return self.changes.get(name) or self.changes[re.sub(r"-\d+$", "", name)]

    def debugger(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        return self.repairs[_first(r'what="([a-z0-9-]+)"', question)]

    def novelty(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        names = re.findall(r"^## The new idea\n(\S+):", question, re.MULTILINE)
        return {"judged": [{"idea": name, "same_as": "", "reason": "another mechanism"} for name in names]}

    def analyst(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        returned = [text for text in tool_results(request) if text.startswith("{")]  # others were refused
        if not returned:
            return Answer.call("verdicts")
        found = json.loads(returned[0])
        effect = found.get("claim") or found["verdicts"][-1]
        cm = (effect.get("cm") or {}).get("value")
        words = {"what_changed": f"{found['idea']} changed the code as its patch shows."}
        words["effect"] = "It showed no multiplier." if cm is None else f"Its compute multiplier is {cm:.2f}."
        words |= {"where": "At the lowest rung.", "refuted_by": "Fresh pairs without a gain."}
        return {**words, "next": "Try it at the next rung."}

    def librarian(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        names = re.findall(r"^- ([a-z0-9-]+): claimed", question, re.MULTILINE)
        works = [{"words": f"{name} works.", "evidence": [name]} for name in names]
        return {"works": works, "does_not": [], "open_questions": [], "contradictions": []}


def tool_results(request: Request) -> list[str]:
    """What tools have returned in this conversation, in their order."""
    return [
        text_of(block.get("content"))
        for message in request["messages"]
        for block in blocks(message["content"])
        if block.get("type") == "tool_result"
    ]


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{pattern!r} is not in {text[:200]!r}")
    return found[1]
