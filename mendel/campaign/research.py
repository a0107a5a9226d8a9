"""The researchers' part of a campaign: before a round they propose and forecast, after it they explain.

What they bring is queued like any idea and judged like any idea. Each part is kept under a key when it is
done, and each question is in the book, so that a campaign that is killed asks nothing twice. Where nobody
answers (the provider is down, a limit is reached) the log says so, and the campaign goes on without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.agenda import room_for_ideas
from mendel.campaign.briefing import digest, lab_context, memory_text, standing_context
from mendel.campaign.config import CampaignConfig
from mendel.campaign.earlier import earlier
from mendel.campaign.explaining import Explainer
from mendel.campaign.forecasts import forecaster_records, track_record
from mendel.campaign.lab import Interrupted, Lab
from mendel.campaign.newness import Gate, New
from mendel.campaign.summary import latest_memory
from mendel.campaign.trunk import Line, Shelf
from mendel.campaign.writing import Writer, Written
from mendel.ideas.pool import BASE_RATE, base_rate, pool
from mendel.ideas.triage import duplicates
from mendel.records import Forecast, Idea, Patch
from mendel.report.curves import read_text
from mendel.researchers.answers import Expected, Forecasts, Portfolio, Proposed
from mendel.researchers.book import NoAnswer
from mendel.researchers.desk import Desk, Stopped
from mendel.researchers.seats import ENGINEER, FORECASTER, PROPOSER
from mendel.researchers.settings import EXTERNAL
from mendel.researchers.untrusted import untrusted
from mendel.store import RESEARCH, Foreseen, IdeaState

FORESEEN = "/foreseen"
"""Keys of decisions that end so hold what forecasters were asked before a round."""
PROPOSES = " (proposes)"
"""Ends the name of a forecaster that proposed the idea itself."""


@dataclass
class Research:
    """The seats of one campaign at work."""

    lab: Lab
    shelf: Shelf
    config: CampaignConfig
    desk: Desk

    def before_round(self, number: int, trunk: Line) -> None:
        """Propose, write and forecast ideas, and queue them, as long as the budget has room for them."""
        lab, desk = self.lab, self.desk
        if not desk.takes(ENGINEER) or lab.store.decision(lab.campaign.id, f"{number}/ideas") is not None:
            return  # what is replayed of a round that was begun asks nobody anything
        if not lab.once(f"{number}/room", lambda: room_for_ideas(lab, self.config, number)):
            return
        context = lab_context(lab, self.config.goal, trunk.recipe)
        writer = Writer(lab, self.shelf, desk, trunk, self.config.rungs[0], context)
        try:
            if lab.store.decision(lab.campaign.id, f"{number}/rebased") is None:
                self._rebase(desk, number, writer)
            self._late(desk, number)
            if desk.takes(PROPOSER) and lab.store.decision(lab.campaign.id, f"{number}{RESEARCH}") is None:
                self._propose(desk, number, writer)
        except Stopped:
            raise Interrupted from None

    def after_round(self, number: int, trunk: Line, names: Iterable[str]) -> None:
        """Explain what the round said of ideas `names`, and bring the lab's memory up to date."""
        try:
            Explainer(self.lab, self.config, self.desk).after_round(number, trunk, names)
        except Stopped:
            raise Interrupted from None

    def _rebase(self, desk: Desk, number: int, writer: Writer) -> None:
        """Ideas that the trunk has left behind, written anew for it under another name; each once."""
        lab = self.lab
        # A model must not see the patches of what is planted.
        blanks = {blank.name for blank in lab.store.blanks(lab.campaign.id)}
        entries = lab.store.ideas(lab.campaign.id, IdeaState.STALE)
        stale = [entry.idea for entry in entries if entry.idea.name not in blanks]
        again = {name: f"{name[:52]}-rebased" for name in (idea.name for idea in stale)}
        taken = {entry.idea.name for entry in lab.store.ideas(lab.campaign.id)}
        wanted = [
            idea for idea in stale if again[idea.name] not in taken and not idea.name.endswith("-rebased")
        ]
        written = []
        for idea in wanted[: self.config.researchers.ideas]:
            found = writer.rebase(str(number), idea, again[idea.name], self._model("engineer"))
            if found.idea is None:
                lab.say(f"{number}/lost/{idea.name}", "write", f"{idea.name}: not rebased, {found.note}")
            else:
                written.append(found)
        with lab.store.transaction():
            known = {entry.idea.name for entry in lab.store.ideas(lab.campaign.id)}
            written = [one for one in written if one.idea is not None and one.idea.name not in known]
            lab.store.add_ideas(lab.campaign.id, [one.idea for one in written if one.idea is not None])
            for one in written:
                assert one.idea is not None
                name = one.idea.name
                lab.store.set_idea_state(lab.campaign.id, name, one.state, one.note)
                lab.say(f"{number}/rebased/{name}", "write", f"{name}: {one.state.value}, {one.note}", name)
            lab.once(f"{number}/rebased", lambda: {"ideas": [one.idea.name for one in written if one.idea]})

    # --- proposing ------------------------------------------------------------------------------------

    def _propose(self, desk: Desk, number: int, writer: Writer) -> None:
        lab, key = self.lab, str(number)
        context, changed = standing_context(lab, self.config.goal, writer.trunk)
        words = self._guidance(), self.memory()
        found = lab.once(f"{key}/digest", lambda: digest(lab, writer.trunk, *words, earlier(lab)))
        count = self.config.researchers.ideas
        left = lab.once(f"{key}/left", lambda: round(lab.meter.remaining()))
        question = (
            f"{changed}{found}\n\n# The question\n\nPropose at most {count} ideas for round {number}. "
            f"About {left} runs of the lowest rung are left."
        )

        def check(portfolio: Portfolio) -> None:
            if len(portfolio.ideas) > count:
                raise ValueError(f"{len(portfolio.ideas)} ideas; at most {count} are wanted")
            names = [one.name for one in portfolio.ideas]
            if len(set(names)) < len(names):
                raise ValueError("two ideas have the same name")

        lab.say(f"{key}/asks", "propose", f"round {number}: asks for at most {count} ideas")
        try:
            portfolio = desk.ask(PROPOSER, f"{key}/propose", context=context, question=question, check=check)
        except NoAnswer as error:
            self._unanswered(key, "propose", error)
            return
        asked_for = [*self._unwritten(number), *portfolio.ideas]
        # Names are taken now: a campaign that is continued must ask about the same ones.
        names = lab.once(f"{key}/names", lambda: self._free_names(asked_for))
        renamed = [one.model_copy(update={"name": n}) for one, n in zip(asked_for, names, strict=True)]
        proposed = self._new(desk, key, renamed)
        written = [(one, self._written(writer, key, one)) for one in proposed]
        ready = [(one, w) for one, w in written if w.idea is not None]
        foretold = [one for one, w in ready if w.state is not IdeaState.REJECTED]
        self._foretold(desk, key, (context, changed), foretold)
        self._queue(number, written)

    def _unwritten(self, number: int) -> list[Proposed]:
        """What was proposed for the round before and not written, because the provider was down."""
        before = self.lab.store.decision(self.lab.campaign.id, f"{number - 1}{RESEARCH}") or {}
        return [Proposed.model_validate(one) for one in before.get("unwritten", [])]

    def _free_names(self, ideas: Sequence[Proposed]) -> list[str]:
        """Names that nobody has in this campaign; blanks may have any."""
        taken = {entry.idea.name for entry in self.lab.store.ideas(self.lab.campaign.id)}
        names = []
        for one in ideas:
            name, again = one.name, 1
            while name in taken:
                again += 1
                name = f"{one.name}-{again}"
            taken.add(name)
            names.append(name)
        return names

    def _new(self, desk: Desk, key: str, ideas: Sequence[Proposed]) -> list[Proposed]:
        """Those that are no earlier idea again, by their words."""
        told = [New(one.name, f"{one.hypothesis} {one.mechanism} {one.change}") for one in ideas]
        same = Gate(self.lab, desk).known(f"{key}/novelty", told)
        for judged in same.values():
            words = f"{judged.idea}: not tried, it is {judged.same_as} again: {judged.reason}"
            self.lab.say(f"{key}/same/{judged.idea}", "propose", words)
        return [one for one in ideas if one.name not in same]

    def _written(self, writer: Writer, key: str, one: Proposed) -> Written:
        def again(patch: Patch) -> str:
            told = [New(one.name, f"{one.hypothesis} {one.change}", patch)]
            same = Gate(self.lab, writer.desk).known(f"{key}/novelty/{one.name}", told)
            return "".join(f"its patch is {each.same_as} again: {each.reason}" for each in same.values())

        def idea(patch: Patch) -> Idea:
            return Idea(
                name=one.name,
                idea_class=one.idea_class,
                hypothesis=f"{one.hypothesis} Prediction: {one.prediction} Refuted by: {one.refuted_by}",
                mechanism=one.mechanism,
                citation=one.citation,
                forecast=_forecast(one.forecast),
                patch=patch,
                proposer=self._model("proposer"),
            )

        words = f"{one.hypothesis}\n\nWhy: {one.mechanism}\n\nThe change: {one.change}"
        question = (
            f"# Write this idea as a patch\n\n{one.name} ({one.idea_class})\n\n{untrusted(one.name, words)}"
        )
        return writer.write(key, idea, one.name, question, again)

    # --- forecasting ----------------------------------------------------------------------------------

    def _foretold(self, desk: Desk, key: str, context: tuple[str, str], ideas: Sequence[Proposed]) -> None:
        """Ask forecasters, who do not see what the proposer expects. What is asked is kept: an answer out of
        a batch may come rounds later."""
        asked = [
            f"## {one.name} ({one.idea_class})\n" + untrusted(one.name, f"{one.hypothesis}\n{one.change}")
            for one in ideas
        ]
        question = context[1] + "\n\n".join(["# Forecast these ideas", *asked])
        names = [one.name for one in ideas]
        if names:
            kept = {"context": context[0], "question": question, "names": names}
            self.lab.once(f"{key}{FORESEEN}", lambda: kept)
            self._collect(desk, key, kept)

    def _late(self, desk: Desk, number: int) -> None:
        """Forecasts of earlier rounds that were not there yet."""
        asked = self.lab.store.decisions([self.lab.campaign.id], FORESEEN)[self.lab.campaign.id]
        for key, kept in sorted(asked.items()):
            if int(key.removesuffix(FORESEEN)) < number:
                self._collect(desk, key.removesuffix(FORESEEN), kept)

    def _collect(self, desk: Desk, key: str, asked: dict[str, Any]) -> None:
        """Keep the forecasts of all forecasters who have answered."""
        lab, names = self.lab, asked["names"]
        known = {one.forecaster for one in lab.store.forecasts(lab.campaign.id, names[0])}
        # Whoever forecasts what is known already has said nothing.
        judged = {one.idea.name for one in lab.store.trials([lab.campaign.id]) if one.measured}
        if judged >= {*names}:
            return

        def check(answer: Forecasts) -> None:
            given = [one.idea for one in answer.forecasts]
            if sorted(given) != sorted(names):
                raise ValueError(f"forecasts of {given}; asked were {names}, each once")

        number = 0
        while desk.takes(FORECASTER, number):
            name = desk.settings.model("forecaster", number).partition(":")[2] or EXTERNAL
            task, number = f"{key}/forecast/{number}", number + 1
            if name in known:
                continue
            try:
                answer = desk.ask(
                    FORECASTER,
                    task,
                    context=asked["context"],
                    question=asked["question"],
                    check=check,
                    number=number - 1,
                    batched=self.config.researchers.batch,
                )
            except NoAnswer as error:
                self._unanswered(key, task, error)
                continue
            found = [Foreseen(one.idea, name, _forecast(one), one.reason) for one in answer.forecasts]
            known.add(name)
            lab.store.put_forecasts(lab.campaign.id, [one for one in found if one.idea not in judged])

    def _queue(self, number: int, written: Sequence[tuple[Proposed, Written]]) -> None:
        """Add what was written to the ideas of the campaign, with the pooled forecast; all or nothing."""
        lab = self.lab
        pasts, records = track_record(lab.store, lab.campaign), forecaster_records(lab.store, lab.campaign)
        ideas, rows, states = [], [], []
        for one, how in written:
            if how.idea is None:
                lab.say(f"{number}/lost/{one.name}", "write", f"{one.name}: {how.note}")
                continue
            own = Foreseen(one.name, f"{how.idea.proposer}{PROPOSES}", how.idea.forecast, one.mechanism)
            rate = Foreseen(one.name, BASE_RATE, base_rate(one.idea_class, pasts), "what its class came to")
            rows += [own, rate]
            all_ = [own, rate, *lab.store.forecasts(lab.campaign.id, one.name)]
            pooled = pool({each.forecaster: each.forecast for each in all_}, records)
            ideas.append(how.idea.model_copy(update={"forecast": pooled.forecast}))
            states.append((one.name, how.state, f"{how.note}; {pooled.words}"))
        unwritten = [one.model_dump() for one, how in written if how.down]
        with lab.store.transaction():
            earlier = [entry.idea for entry in lab.store.ideas(lab.campaign.id)]
            late = {idea.name for idea in earlier} & {idea.name for idea in ideas}
            for name in sorted(late):
                lab.say(f"{number}/taken/{name}", "write", f"{name}: lost, its name was taken meanwhile")
            ideas = [idea for idea in ideas if idea.name not in late]
            states = [one for one in states if one[0] not in late]
            rows = [one for one in rows if one.idea not in late]
            same = dict(duplicates([*earlier, *ideas]))
            lab.store.add_ideas(lab.campaign.id, ideas)
            lab.store.put_forecasts(lab.campaign.id, rows)
            for name, state, note in states:
                if name in same:
                    state, note = IdeaState.DROPPED, f"the same patch as {same[name]}"
                lab.store.set_idea_state(lab.campaign.id, name, state, note)
                lab.say(f"{number}/written/{name}", "write", f"{name}: {state.value}, {note}", name)
            kept = {"ideas": [idea.name for idea in ideas], "unwritten": unwritten}
            lab.once(f"{number}{RESEARCH}", lambda: kept)

    # --- helpers --------------------------------------------------------------------------------------

    def memory(self) -> str:
        """What the librarian wrote last, as text."""
        return memory_text(latest_memory(self.lab.store, self.lab.campaign.id))

    def _model(self, seat: str) -> str:
        """Who sits in a seat, as ideas name their proposers: without the provider."""
        return self.config.researchers.model(seat).partition(":")[2] or EXTERNAL

    def _guidance(self) -> str:
        """What a person wrote for the researchers; empty where the file is gone."""
        named = self.config.researchers.guidance
        return (read_text(Path(named)) or "") if named else ""

    def _unanswered(self, key: str, task: str, error: NoAnswer) -> None:
        self.lab.say(f"{key}/unanswered/{task}", "research", f"goes on without an answer: {error}")


def _forecast(expected: Expected) -> Forecast:
    return Forecast(mean=expected.mean, sd=expected.sd, p_runs=expected.p_runs)
