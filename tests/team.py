"""A team of researchers who answer by script: `Team` sits in every seat of a campaign on the toy testbed.

It is a model as pydantic-ai has them, so that everything but the network is real. Each seat has a method that
gets the question and returns its answer as plain values; what it was asked stands in `asked`.
"""

from __future__ import annotations

import json
import re

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mendel.researchers.seats import SEATS

PROMPTS = {seat.prompt.text: seat.name for seat in SEATS}
FORECAST = {"mean": 0.3, "sd": 0.3, "p_runs": 0.9}


def proposal(name, change, idea_class="optimiser", **more):
    words = {"hypothesis": f"{name} helps.", "mechanism": f"{name} is efficient.", "prediction": "A gain."}
    words |= {"refuted_by": "No gain.", "citation": "", "forecast": FORECAST}
    return {"name": name, "idea_class": idea_class, "change": change, **words, **more}


def edit(search, replace, path="train.py"):
    return {"path": path, "search": search, "replace": replace}


def change(*edits, **settings):
    listed = [{"key": key, "value": value} for key, value in settings.items()]
    return {"edits": list(edits), "settings": listed, "notes": ""}


GOOD = change(edit("EFFICIENCY = 1.0", "EFFICIENCY = 1.7"))


class Team:
    """Proposes one good idea and one that does nothing; the first patch of the good one has a bug."""

    def __init__(self):
        self.asked = []
        self.proposals = [[proposal("faster", "raise EFFICIENCY"), proposal("renamed", "set label")]]
        self.changes = {
            "faster": change(edit("EFFICIENCY = 1.0", "EFFICIENCY = 1.7 + undefined_name")),
            "renamed": change(label="x"),
        }
        self.repairs = {"faster": {**GOOD, "broken": False, "reason": "a name that does not exist"}}
        self.reads = ()
        """(tool, arguments) that an engineer calls before it answers."""

    def model(self):
        def told(messages, info: AgentInfo):
            return self.respond(messages, info)

        return FunctionModel(told, model_name="scripted")

    def respond(self, messages, info):
        seat = next(name for text, name in PROMPTS.items() if info.instructions.startswith(text))
        parts = [part for message in messages for part in message.parts]
        question, *back = [part.content for part in parts if isinstance(part, UserPromptPart)]
        self.asked.append((seat, question, info))
        answer = getattr(self, seat)(question, messages, back)
        return answer if isinstance(answer, ModelResponse) else ModelResponse([TextPart(json.dumps(answer))])

    def count(self, seat):
        return sum(name == seat for name, _, _ in self.asked)

    # --- seats ------------------------------------------------------------------------------------------

    def proposer(self, question, messages, back):
        number = int(re.search(r"for round (\d+)", question)[1])
        return {"ideas": self.proposals[number] if number < len(self.proposals) else []}

    def forecaster(self, question, messages, back):
        names = re.findall(r"^## (\S+) \(", question, re.MULTILINE)
        return {"forecasts": [{**FORECAST, "mean": 0.1, "idea": name, "reason": "a guess"} for name in names]}

    def engineer(self, question, messages, back):
        calls = sum(isinstance(part, ToolCallPart) for message in messages for part in message.parts)
        if calls < len(self.reads):
            return ModelResponse([ToolCallPart(*self.reads[calls])])
        name = re.search(r"^(\S+) \(", question, re.MULTILINE)[1]
        return self.changes.get(name) or self.changes[re.sub(r"-\d+$", "", name)]

    def debugger(self, question, messages, back):
        name = re.search(r'what="([a-z0-9-]+)"', question)[1]
        return self.repairs[name]

    def novelty(self, question, messages, back):
        names = re.findall(r"^## The new idea\n(\S+):", question, re.MULTILINE)
        return {"judged": [{"idea": name, "same_as": "", "reason": "another mechanism"} for name in names]}

    def analyst(self, question, messages, back):
        returned = [part for message in messages for part in message.parts if part.part_kind == "tool-return"]
        if not returned:
            return ModelResponse([ToolCallPart("verdicts", {})])
        found = json.loads(returned[0].content)
        effect = found.get("claim") or found["verdicts"][-1]
        words = {"where": "At rung 0.", "refuted_by": "Fresh pairs without a gain.", "next": "More of it."}
        cm = effect.get("cm") or {"value": 1}
        return {"what_changed": "Its source.", "effect": f"CM {cm['value']:.2f}.", **words}

    def librarian(self, question, messages, back):
        names = re.findall(r"^- ([a-z0-9-]+): claimed", question, re.MULTILINE)
        works = [{"words": f"{name} works.", "evidence": [name]} for name in names]
        return {"works": works, "does_not": [], "open_questions": [], "contradictions": []}
