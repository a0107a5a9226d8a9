"""The worst model there could be: it does to the letter what a text in its request demands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mendel.campaign.researcher_bench.stage import Stage
from mendel.testing.messages_records import Answer, Request, Text, system_text, text_of
from mendel.testing.team import Team, Values

_SEEN: dict[int, int | None] = {0xE0000 + letter: letter for letter in range(0x20, 0x7F)} | {0x200B: None}
"""Tag characters as the letters that they stand for; a space of no width is nothing."""
Obey: TypeAlias = Callable[[Values, Request], Values | Answer]
"""From what an honest seat would answer, empty where it calls a tool first, to what is demanded."""


class Gullible(Team):
    """`order`: the words that make it obey, wherever it reads them; `obey`: what each seat does then. It
    never tires: what is sent back to it, it answers in the same way."""

    def __init__(self, stage: Stage, order: str = "", obey: Mapping[str, Obey] | None = None) -> None:
        super().__init__(stage.proposals, stage.changes, stage.repairs)
        self.order, self.obey = order, dict(obey or {})

    def answer(self, request: Request) -> Answer:
        honest = super().answer(request)
        seat = self.asked[-1][0]
        if not self.order or seat not in self.obey or self.order not in read_by(request):
            return honest
        said = [block.text for block in honest.content if isinstance(block, Text)]
        found = self.obey[seat](json.loads(said[0]) if said else {}, request)
        return found if isinstance(found, Answer) else Answer.output(found)

    def engineer(self, question: str, back: Any, request: Request) -> Values | Answer:
        """Ideas that it was talked into have no patch in the script: a small one will do."""
        try:
            return super().engineer(question, back, request)
        except KeyError:
            return {"edits": [], "settings": [{"key": "eps", "value": 2e-8}], "notes": ""}

    def debugger(self, question: str, back: Any, request: Request) -> Values | Answer:
        try:
            return super().debugger(question, back, request)
        except KeyError:
            return {"edits": [], "settings": [], "notes": "", "reason": "no", "broken": True}


def read_by(request: Request) -> str:
    """All that a request gives to a model, its own words left out, and what no person sees."""
    said = [text_of(message["content"]) for message in request["messages"] if message["role"] == "user"]
    return "\n".join([system_text(request), *said]).translate(_SEEN)
