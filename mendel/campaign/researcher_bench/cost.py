"""What a judged idea costs, and how much of what is asked comes from the provider's cache, at any history.

Campaigns of a few rounds in a lab that has found much before. Models are the default ones by name, answered
by a script behind the loopback server, which counts tokens (characters by four) and keeps prefixes as the
provider does; prices are those that the library knows of these models. Answers have the length that such
answers have; thinking is not among them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mendel.campaign.researcher_bench.history import put_history
from mendel.campaign.researcher_bench.world import Played, Site, World, playing
from mendel.researchers.prices import price_of
from mendel.researchers.settings import Models
from mendel.testing.messages_records import Answer, Request
from mendel.testing.team import Team, Values, change, edit, proposal, tool_results

SIZES = (10, 100, 1000)
ROUNDS, IDEAS = 5, 4
BUDGET = "420runs"
CLASSES = ("attention", "optimiser", "loss", "embedding")
BEFORE = "        return self.proj(h_BTF)\n"


class Busy(Team):
    """Brings `IDEAS` ideas before each of `ROUNDS` rounds, the first a gain; reads before it writes."""

    def __init__(self) -> None:
        rounds = [[_proposed(number, place) for place in range(IDEAS)] for number in range(ROUNDS)]
        changes = {one["name"]: _change(one["name"]) for ideas in rounds for one in ideas}
        super().__init__(rounds, changes)

    def engineer(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        reads = (("search", {"pattern": "h_BTF"}), ("read_file", {"path": "train.py", "first_line": 60}))
        done = len(tool_results(request))
        if done < len(reads):
            return Answer.call(reads[done][0], **reads[done][1])
        return {**self.changes[question.partition("\n\n")[2].partition(" (")[0]], "notes": _words(60)}

    def forecaster(self, question: str, back: Sequence[str], request: Request) -> Values:
        found = Team.forecaster(self, question, back, request)
        assert isinstance(found, dict)
        return {"forecasts": [{**one, "reason": _words(40)} for one in found["forecasts"]]}

    def analyst(self, question: str, back: Sequence[str], request: Request) -> Values | Answer:
        done = len(tool_results(request))
        if done == 1:
            return Answer.call("scale")
        found = Team.analyst(self, question, back, request)
        words = dict.fromkeys(("what_changed", "where", "refuted_by", "next"), _words(50))
        return found if isinstance(found, Answer) else {**found, **words}

    def librarian(self, question: str, back: Sequence[str], request: Request) -> Values:
        found = Team.librarian(self, question, back, request)
        assert isinstance(found, dict)
        lessons = [{"words": _words(30), "evidence": [f"past-{n}"]} for n in range(8)]
        return {**found, "does_not": lessons, "open_questions": lessons[:4]}


def _words(count: int) -> str:
    """Of the length that words of a language have; without a number."""
    line = "the residual stream of a shallow model keeps its scale when the projection starts small and grows"
    words = line.split()
    return " ".join(words[place % len(words)] for place in range(count))


def _name(number: int, place: int) -> str:
    return f"{'gain' if place == 0 else 'plain'}-{'abcdefgh'[number]}-{CLASSES[place]}"


def _proposed(number: int, place: int) -> Values:
    name = _name(number, place)
    words = {"hypothesis": _words(50), "mechanism": _words(90), "prediction": _words(35)}
    return proposal(name, _words(120), CLASSES[place], **words, refuted_by=_words(35), citation=_words(12))


def _change(name: str) -> Values:
    """A patch of some lines, in a place where any number of them fits."""
    mark = name.replace("-", "_")
    lines = [f"        # {_words(14)}", f"        {mark}_BTF = h_BTF * 1.0",
             f"        h_BTF = torch.lerp(h_BTF, {mark}_BTF, 0.5)"]  # fmt: skip
    return change(edit(BEFORE, "\n".join(lines) + "\n" + BEFORE, "model.py"))


def measure_costs(
    ground: Site, say: Callable[[str], None] = print, sizes: Sequence[int] = SIZES
) -> dict[str, Any]:
    """Dollars for each idea that was judged, share of input tokens from the cache, tokens of the longest
    first request of each seat, and seconds that the lab itself took; each by the number of past findings."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    gains = {f"gain_{letter}_": 1.12 for letter in "abcdefgh"[:ROUNDS]}
    for size in sizes:
        begun = time.monotonic()
        seats = {"ideas": IDEAS}
        fill = partial(put_history, size=size)
        with playing(
            ground, f"cost-{size}", Busy(), World(gains), budget=BUDGET, researchers=seats, prefill=fill
        ) as played:
            row = _measured(played)
        row["seconds"] = round(time.monotonic() - begun, 1)
        for key, value in row.items():
            found[key][str(size)] = value
        cost, cached = row["cost_usd_per_judged_idea"], row["cached_fraction"]
        say(f"{size} findings: {cost:.4f} dollars for a judged idea, {cached:.1%} of the input cached")
    names = dict.fromkeys([*_names(Models()), *Models().forecasters])
    prices = {name: price_of(name) for name in names}
    return {"prices": {"unit": "US dollars for a million tokens", **prices}, **found}


def _names(models: Models) -> list[str]:
    return [name for name in models.model_dump().values() if isinstance(name, str)]


def _measured(played: Played) -> dict[str, Any]:
    store, campaign = played.store, played.campaign
    calls = store.calls(campaign)
    own = {one["name"] for ideas in Busy().proposals for one in ideas}
    judged = {trial.idea.name for trial in store.trials([campaign]) if trial.measured} & own
    later = [call.usage for call in calls if not call.task.startswith("0/")]
    seats: defaultdict[str, list[int]] = defaultdict(list)
    for call in calls:
        if call.step == 0:
            seats[call.seat].append(call.usage.input_tokens)
    read = sum(usage.input_tokens for usage in later)
    return {
        "cost_usd_per_judged_idea": store.usage(campaign).dollars / len(judged),
        "cached_fraction": sum(usage.cached_tokens for usage in later) / read,
        "judged": len(judged),
        "rounds": len({call.task.split("/")[0] for call in calls}),
        "prompt_tokens": {seat: max(tokens) for seat, tokens in sorted(seats.items())},
        "cached_by_seat": {
            seat: _share([call.usage for call in calls if call.seat == seat and call.task[:2] != "0/"])
            for seat in sorted(seats)
        },
    }


def _share(usages: Sequence[Any]) -> float | None:
    read = sum(usage.input_tokens for usage in usages)
    return round(sum(usage.cached_tokens for usage in usages) / read, 3) if read else None
