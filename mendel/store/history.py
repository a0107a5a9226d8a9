"""What campaigns leave behind for others: their ideas, with everything that was measured of each.

A fixed number of queries however many campaigns are asked for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select

from mendel.records import Finding, Idea, PlanKind, Verdict, VerdictKind
from mendel.store.calls import Calls
from mendel.store.entries import IDEA_TEXT, parsed
from mendel.store.tables import BlankRow, DecisionRow, FindingRow, IdeaRow, IdeaState, PlanRow, VerdictRow

TUNED = "/tuned"
"""Keys of decisions that end so hold what a round's searches for knobs found."""
RESEARCH = "/research"
"""Keys of decisions that end so hold what researchers brought before a round."""
EXPLAINED = "/explained"
"""Keys of decisions that begin with a round and an idea and end so hold an analyst's words on its verdict."""
CARRIES = "/carries"
"""Keys of decisions that end so hold what a round's working line kept, and how much of it was planted."""
HALVES = "/held"
"""Keys of decisions that end so hold by plan which ideas are in its treatment and which in its control."""


def newest(findings: Iterable[Finding]) -> list[Finding]:
    """Of one idea in one round the last finding that was put: a climb or an eviction puts it again."""
    return list({(finding.idea.name, finding.round): finding for finding in findings}.values())


@dataclass(frozen=True)
class Trial:
    """An idea in the queue of a campaign, and its verdicts in the order in which they fell."""

    campaign: str
    idea: Idea
    content: str
    """Content hash of the idea."""
    state: IdeaState
    measured: tuple[tuple[PlanKind, Verdict], ...]


@dataclass(frozen=True)
class Confirmation:
    """An idea that was judged in confirmation; what it was planted as, None for a real one."""

    campaign: str
    idea: str
    blank: str | None
    kind: VerdictKind


@dataclass(frozen=True)
class Planted:
    """A planted idea, and what its verdicts said, in the order in which they fell."""

    campaign: str
    kind: str
    """As in `Blank`."""
    judged: tuple[tuple[PlanKind, VerdictKind], ...]


class History(Calls):
    """Questions to several campaigns at once."""

    def trials(self, campaigns: Sequence[str]) -> list[Trial]:
        """Every idea of these campaigns, but for those that are known to be planted: a blank counts like any
        idea until it is unblinded, so that whoever reads this cannot tell."""
        planted = and_(
            BlankRow.campaign == IdeaRow.campaign,
            BlankRow.name == IdeaRow.name,
            BlankRow.unblinded.is_not(None),
        )
        ideas = (
            select(IdeaRow.campaign, IdeaRow.name, IdeaRow.state, IDEA_TEXT)
            .outerjoin(BlankRow, planted)
            .where(IdeaRow.campaign.in_(campaigns), BlankRow.name.is_(None))
            .order_by(IdeaRow.campaign, IdeaRow.position)
        )
        same_plan = and_(PlanRow.campaign == VerdictRow.campaign, PlanRow.id == VerdictRow.plan)
        verdicts = (
            select(VerdictRow.campaign, PlanRow.idea, PlanRow.kind, VerdictRow.record)
            .join(PlanRow, same_plan)
            .where(VerdictRow.campaign.in_(campaigns), PlanRow.idea.is_not(None))
            .order_by(VerdictRow.seq)
        )
        measured: defaultdict[tuple[str, str], list[tuple[PlanKind, Verdict]]] = defaultdict(list)
        with self._reading() as connection:
            for row in connection.execute(verdicts):
                found = PlanKind(row.kind), Verdict.model_validate(row.record)
                measured[row.campaign, row.idea].append(found)
            return [
                Trial(
                    row.campaign,
                    *parsed(row.text),
                    row.state,
                    tuple(measured[row.campaign, row.name]),
                )
                for row in connection.execute(ideas)
            ]

    def confirmations(self, campaigns: Sequence[str]) -> list[Confirmation]:
        """All verdicts of confirmation, blinded blanks among them: for accounts, never for a judge."""
        same_plan = and_(PlanRow.campaign == VerdictRow.campaign, PlanRow.id == VerdictRow.plan)
        same_idea = and_(BlankRow.campaign == PlanRow.campaign, BlankRow.name == PlanRow.idea)
        query = (
            select(VerdictRow.campaign, PlanRow.idea, BlankRow.kind, VerdictRow.record)
            .join(PlanRow, same_plan)
            .outerjoin(BlankRow, same_idea)
            .where(VerdictRow.campaign.in_(campaigns), PlanRow.kind == PlanKind.CONFIRM.value)
            .order_by(VerdictRow.seq)
        )
        with self._reading() as connection:
            return [
                Confirmation(row.campaign, row.idea, row.kind, VerdictKind(row.record["kind"]))
                for row in connection.execute(query)
            ]

    def planted(self, campaigns: Sequence[str]) -> list[Planted]:
        """All planted ideas with their verdicts, blinded ones among them: for accounts, never for a judge."""
        same_plan = and_(PlanRow.campaign == VerdictRow.campaign, PlanRow.id == VerdictRow.plan)
        same_idea = and_(BlankRow.campaign == PlanRow.campaign, BlankRow.name == PlanRow.idea)
        verdicts = (
            select(PlanRow.campaign, PlanRow.idea, PlanRow.kind, VerdictRow.record)
            .join(VerdictRow, same_plan)
            .join(BlankRow, same_idea)
            .where(PlanRow.campaign.in_(campaigns))
            .order_by(VerdictRow.seq)
        )
        ideas = select(BlankRow.campaign, BlankRow.name, BlankRow.kind).where(
            BlankRow.campaign.in_(campaigns)
        )
        judged: defaultdict[tuple[str, str], list[tuple[PlanKind, VerdictKind]]] = defaultdict(list)
        with self._reading() as connection:
            for row in connection.execute(verdicts):
                judged[row.campaign, row.idea].append((PlanKind(row.kind), VerdictKind(row.record["kind"])))
            return [
                Planted(row.campaign, row.kind, tuple(judged[row.campaign, row.name]))
                for row in connection.execute(ideas.order_by(BlankRow.campaign, BlankRow.name))
            ]

    def findings_of(self, campaigns: Sequence[str]) -> dict[str, list[Finding]]:
        """Campaign -> its findings, oldest first."""
        query = select(FindingRow.campaign, FindingRow.record).where(FindingRow.campaign.in_(campaigns))
        found: dict[str, list[Finding]] = {campaign: [] for campaign in campaigns}
        with self._reading() as connection:
            for row in connection.execute(query.order_by(FindingRow.seq)):
                found[row.campaign].append(Finding.model_validate(row.record))
        return {campaign: newest(findings) for campaign, findings in found.items()}

    def explanations(self, campaign: str) -> dict[str, dict[str, Any]]:
        """Idea -> what an analyst wrote on its last verdict."""
        ending = DecisionRow.key.endswith(EXPLAINED, autoescape=True)
        query = select(DecisionRow.key, DecisionRow.payload).where(DecisionRow.campaign == campaign, ending)
        with self._reading() as connection:
            self._require(connection, campaign)
            rows = [(row.key.split("/", 1), row.payload) for row in connection.execute(query)]
        by_round = sorted(rows, key=lambda row: int(row[0][0]))
        return {name.removesuffix(EXPLAINED): payload for (_, name), payload in by_round}

    def decisions(self, campaigns: Sequence[str], ending: str) -> dict[str, dict[str, Any]]:
        """Campaign -> key -> payload of the decisions whose key is numbers and slashes (a round, a step) and
        then this ending: names of ideas are part of other keys."""
        wanted = (DecisionRow.campaign.in_(campaigns), DecisionRow.key.endswith(ending, autoescape=True))
        query = select(DecisionRow.campaign, DecisionRow.key, DecisionRow.payload).where(*wanted)
        found: dict[str, dict[str, Any]] = {campaign: {} for campaign in campaigns}
        with self._reading() as connection:
            for row in connection.execute(query):
                if re.fullmatch(r"[\d/]+", row.key.removesuffix(ending)):
                    found[row.campaign][row.key] = row.payload
        return found
