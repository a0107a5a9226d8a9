"""The store: what a campaign knows and has decided. The truth that every loop reconciles against.

Why it refuses and repeats so calmly: a killed campaign runs the same calls again. Putting the same thing
twice is therefore fine everywhere, and putting a different thing under a name that was given is an error.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, insert, literal, select, update

from mendel.records import Finding, Fingerprint, Idea, Plan, PlanKind, Recipe, Record, RunResult, Verdict
from mendel.store import folders
from mendel.store.entries import IDEA_TEXT, Blank, Campaign, Cost, Event, IdeaEntry, parsed
from mendel.store.errors import StoreError
from mendel.store.folders import RunFolder, Tree
from mendel.store.history import History, newest
from mendel.store.queue import now
from mendel.store.tables import (
    Base,
    BlankRow,
    CampaignRow,
    CampaignState,
    CostRow,
    DecisionRow,
    EventRow,
    FindingRow,
    IdeaRow,
    IdeaState,
    PlanRow,
    RecipeRow,
    VerdictRow,
)

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Store(History):
    """All that is kept under one root folder. Use it as a context manager, or call `close`.

    Every method is one transaction; `with store.transaction():` makes several calls one. Every method
    that names a campaign raises StoreError for one that does not exist.
    """

    # --- campaigns ----------------------------------------------------------------------------------

    def create_campaign(
        self,
        name: str,
        seed: int,
        testbed: str,
        recipe: str,
        config: Mapping[str, Any],
        fingerprint: Fingerprint,
    ) -> Campaign:
        """A new campaign, running, from the base recipe named `recipe`."""
        campaign = Campaign(
            id=secrets.token_hex(4),
            created=now(),
            name=name,
            seed=seed,
            testbed=testbed,
            recipe=recipe,
            config=dict(config),
            fingerprint=fingerprint,
            state=CampaignState.RUNNING,
        )
        with self.transaction() as connection:
            values: dict[str, Any] = vars(campaign) | {"fingerprint": fingerprint.model_dump(mode="json")}
            connection.execute(insert(CampaignRow).values(values))
        return campaign

    def campaign(self, campaign: str | None = None) -> Campaign:
        """The campaign of this id, or the latest one. Raises StoreError if there is none."""
        query = select(*CampaignRow.__table__.c).order_by(CampaignRow.seq.desc()).limit(1)
        with self._reading() as connection:
            if campaign is not None:
                self._require(connection, campaign)
                query = query.where(CampaignRow.id == campaign)
            row = connection.execute(query).mappings().first()
        if row is None:
            raise StoreError(f"{self.place}: it has no campaign yet")
        return _campaign(row)

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(*CampaignRow.__table__.c).order_by(CampaignRow.seq))
            return [_campaign(row) for row in rows.mappings()]

    def set_state(self, campaign: str, state: CampaignState) -> None:
        """Say whether the campaign is running, finished or stopped."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            connection.execute(update(CampaignRow).where(CampaignRow.id == campaign).values(state=state))

    def lock(self, campaign: str) -> AbstractContextManager[None]:
        """Hold the campaign for this process alone: whoever runs it does so inside this context.

        Raises StoreError, with the pid of the holder, if another process runs it.
        """
        self.campaign(campaign)
        path = self.root / "campaigns" / f"{campaign}.lock"
        return folders.file_lock(path, busy=f"campaign {campaign}")

    # --- ideas and blanks ---------------------------------------------------------------------------

    def add_ideas(self, campaign: str, ideas: Iterable[Idea]) -> list[str]:
        """Queue ideas behind those that are there; returns the names that are new.

        Raises StoreError if a name is taken by a different idea.
        """
        with self.transaction() as connection:
            known = {entry.idea.name: entry.idea for entry in self.ideas(campaign)}
            rows: list[dict[str, Any]] = []
            for idea in ideas:
                if idea.name not in known:
                    row = {"campaign": campaign, "name": idea.name, "position": len(known)}
                    row |= {"state": IdeaState.QUEUED, "record": idea.model_dump(mode="json"), "note": ""}
                    rows.append(row)
                if known.setdefault(idea.name, idea) != idea:
                    raise StoreError(f"idea {idea.name!r}: campaign {campaign} has another idea of this name")
            if rows:
                connection.execute(insert(IdeaRow), rows)
        return [row["name"] for row in rows]

    def ideas(self, campaign: str, state: IdeaState | None = None) -> list[IdeaEntry]:
        """The ideas in the order of the queue, all or those of one state."""
        columns = (IdeaRow.position, IdeaRow.state, IdeaRow.note, IDEA_TEXT)
        query = select(*columns).where(IdeaRow.campaign == campaign).order_by(IdeaRow.position)
        if state is not None:
            query = query.where(IdeaRow.state == state)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [
                IdeaEntry(parsed(row.text)[0], row.position, row.state, row.note)
                for row in connection.execute(query)
            ]

    def set_idea_state(self, campaign: str, name: str, state: IdeaState, note: str | None = None) -> None:
        """Move an idea to a state; without a `note` (one line: why) the old one stays."""
        values: dict[str, Any] = {"state": state} | ({} if note is None else {"note": note})
        wanted = (IdeaRow.campaign == campaign, IdeaRow.name == name)
        with self.transaction() as connection:
            self._require(connection, campaign)
            if connection.execute(update(IdeaRow).where(*wanted).values(values)).rowcount != 1:
                raise StoreError(f"idea {name!r}: campaign {campaign} has no idea of this name")

    def add_blanks(self, campaign: str, kinds: Mapping[str, str]) -> None:
        """Note which ideas are planted: name -> kind. Only planting and unblinding read this back."""
        with self.transaction() as connection:
            known = {blank.name: blank.kind for blank in self.blanks(campaign)}
            for name, kind in kinds.items():
                if known.get(name, kind) != kind:
                    raise StoreError(f"blank {name!r}: already planted as {known[name]!r}, now as {kind!r}")
            new = [
                {"campaign": campaign, "name": name, "kind": kinds[name]}
                for name in kinds
                if name not in known
            ]
            if new:
                connection.execute(insert(BlankRow), new)

    def blanks(self, campaign: str) -> list[Blank]:
        """The planted ideas by name. Code that judges must not call this before its verdict is stored."""
        query = select(*BlankRow.__table__.c).where(BlankRow.campaign == campaign).order_by(BlankRow.name)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [Blank(row.name, row.kind, row.unblinded) for row in connection.execute(query)]

    def unblind(self, campaign: str, name: str) -> Blank | None:
        """Ask, after its verdict, whether an idea is a blank; None if it is not. The first time counts."""
        wanted = (BlankRow.campaign == campaign, BlankRow.name == name)
        with self.transaction() as connection:
            connection.execute(
                update(BlankRow).where(*wanted, BlankRow.unblinded.is_(None)).values(unblinded=now())
            )
            return next((blank for blank in self.blanks(campaign) if blank.name == name), None)

    # --- recipes and source trees -------------------------------------------------------------------

    def put_recipe(self, recipe: Recipe, label: str = "") -> str:
        """Keep a recipe, of all campaigns, under its id; returns the id. The first label stays."""
        with self.transaction() as connection:
            values = {"record": recipe.model_dump(mode="json"), "label": label}
            _insert_new(connection, RecipeRow, {"id": recipe.id}, values)
        return recipe.id

    def recipe(self, recipe: str) -> Recipe:
        """The recipe of this id. Raises StoreError if it is not kept."""
        with self._reading() as connection:
            record = connection.scalar(select(RecipeRow.record).where(RecipeRow.id == recipe))
        if record is None:
            raise StoreError(f"recipe {recipe!r}: not in {self.place}")
        return Recipe.model_validate(record)

    def labels(self) -> dict[str, str]:
        """Recipe id -> label, for reports."""
        with self._reading() as connection:
            rows = connection.execute(select(RecipeRow.id, RecipeRow.label))
            return {row.id: row.label for row in rows}

    def save_tree(self, tree: Tree) -> str:
        """Keep source files (path -> text) as a folder, once; returns their hash, see `tree_hash`."""
        return folders.write_tree(self.root / "trees", tree)

    def load_tree(self, tree: str) -> dict[str, str]:
        """The source files kept under this hash. Raises StoreError if they are missing or were changed."""
        return folders.read_tree(self.root / "trees", tree)

    def tree_folder(self, tree: str) -> Path:
        """Where the files of a tree lie. Read only: a run gets a copy."""
        return self.root / "trees" / tree

    def run_folder(self, campaign: str, run: str) -> RunFolder:
        """Where the files of a run lie, whether or not it has started. Two campaigns may have equal runs,
        so a run's folder lies in its campaign's."""
        return RunFolder(self.root / "runs" / campaign / run)

    def new_run_folder(self, campaign: str, run: str, config: Mapping[str, Any], tree: str) -> RunFolder:
        """A fresh folder for a run, with a full copy of its source tree; see `folders.new_run_folder`."""
        self.load_tree(tree)  # a changed tree must not be trained under the name of the old one
        return folders.new_run_folder(self.run_folder(campaign, run).path, config, self.tree_folder(tree))

    # --- plans, costs, verdicts, findings -----------------------------------------------------------

    def put_plan(self, campaign: str, plan: Plan) -> str:
        """Fix a plan; returns its id. Equal plans are one plan."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            values: dict[str, Any] = {
                "kind": plan.kind.value,
                "round": plan.round,
                "idea": plan.idea,
                "created": now(),
            }
            values |= {"record": plan.model_dump(mode="json")}
            _insert_new(connection, PlanRow, {"campaign": campaign, "id": plan.id}, values)
        return plan.id

    def plans(
        self, campaign: str, kind: PlanKind | None = None, round: int | None = None, idea: str | None = None
    ) -> list[Plan]:
        """The plans in the order in which they were fixed, all or those of a kind, round or idea."""
        query = select(PlanRow.record).where(PlanRow.campaign == campaign).order_by(PlanRow.seq)
        if kind is not None:
            query = query.where(PlanRow.kind == kind.value)
        if round is not None:
            query = query.where(PlanRow.round == round)
        if idea is not None:
            query = query.where(PlanRow.idea == idea)
        return self._records(campaign, query, Plan)

    def put_cost(
        self,
        campaign: str,
        recipe: str,
        rung: int,
        flops_per_token: float | None,
        result: RunResult,
        idea: str | None = None,
    ) -> Cost:
        """Keep what a smoke run measured and return what is kept: the first measurement, as plans may
        rest on it. `idea` is whom the ledger charges."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            key = {"campaign": campaign, "recipe": recipe, "rung": rung}
            values = {"idea": idea, "flops_per_token": flops_per_token}
            _insert_new(connection, CostRow, key, values | {"result": result.model_dump(mode="json")})
            kept = self.cost(campaign, recipe, rung)
        assert kept is not None
        return kept

    def cost(self, campaign: str, recipe: str, rung: int) -> Cost | None:
        """What a recipe costs at a rung, None if it was not measured."""
        wanted = (CostRow.campaign == campaign, CostRow.recipe == recipe, CostRow.rung == rung)
        with self._reading() as connection:
            self._require(connection, campaign)
            row = connection.execute(select(CostRow.flops_per_token, CostRow.result).where(*wanted)).first()
        if row is None:
            return None
        return Cost(recipe, rung, row.flops_per_token, RunResult.model_validate(row.result))

    def put_verdict(self, campaign: str, verdict: Verdict) -> str:
        """Keep a verdict; returns its id."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            values = {"plan": verdict.plan, "record": verdict.model_dump(mode="json")}
            _insert_new(connection, VerdictRow, {"campaign": campaign, "id": verdict.id}, values)
        return verdict.id

    def verdicts(self, campaign: str, plan: str | None = None) -> list[Verdict]:
        """The verdicts in the order in which they fell, all or those of one plan."""
        query = select(VerdictRow.record).where(VerdictRow.campaign == campaign).order_by(VerdictRow.seq)
        return self._records(
            campaign, query if plan is None else query.where(VerdictRow.plan == plan), Verdict
        )

    def put_finding(self, campaign: str, finding: Finding) -> str:
        """Keep a finding; returns its id."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            values = {"idea": finding.idea.name, "record": finding.model_dump(mode="json")}
            _insert_new(connection, FindingRow, {"campaign": campaign, "id": finding.id}, values)
        return finding.id

    def findings(self, campaign: str) -> list[Finding]:
        """The findings, oldest first."""
        query = select(FindingRow.record).where(FindingRow.campaign == campaign).order_by(FindingRow.seq)
        return newest(self._records(campaign, query, Finding))

    # --- decisions and the log ----------------------------------------------------------------------

    def decision(self, campaign: str, key: str) -> Any | None:
        """The payload of what was decided under `key`, None if nothing was."""
        wanted = (DecisionRow.campaign == campaign, DecisionRow.key == key)
        with self._reading() as connection:
            self._require(connection, campaign)
            return connection.scalar(select(DecisionRow.payload).where(*wanted))

    def decide(self, campaign: str, key: str, payload: Any) -> None:
        """Write down a decision, once. Do it in the transaction that has its effects:

            with store.transaction():
                store.decide(campaign, "screen/2", {"confirm": names})
                store.enqueue(campaign, specs, "confirm")

        `payload` is JSON and not None. Deciding the same again changes nothing; raises StoreError if
        something else was decided.
        """
        payload = json.loads(json.dumps(payload))
        assert payload is not None, "None says that nothing was decided"
        with self.transaction() as connection:
            decided = self.decision(campaign, key)
            if decided is None:
                row = {"campaign": campaign, "key": key, "payload": payload, "time": now()}
                connection.execute(insert(DecisionRow).values(row))
            elif decided != payload:
                raise StoreError(
                    f"decision {key!r} of campaign {campaign}: was {decided}, may not become {payload}"
                )

    def event(self, campaign: str, stage: str, message: str, idea: str | None = None) -> None:
        """Add a line to the log."""
        with self.transaction() as connection:
            self._require(connection, campaign)
            row = {"campaign": campaign, "time": now(), "stage": stage, "idea": idea, "message": message}
            connection.execute(insert(EventRow).values(row))

    def events(self, campaign: str, after: int = 0) -> list[Event]:
        """The log from the first event whose id is above `after`."""
        query = select(*EventRow.__table__.c).where(EventRow.campaign == campaign, EventRow.id > after)
        with self._reading() as connection:
            self._require(connection, campaign)
            return [
                Event(row.id, row.time, row.stage, row.idea, row.message)
                for row in connection.execute(query.order_by(EventRow.id))
            ]

    # --- helpers ------------------------------------------------------------------------------------

    def _records(self, campaign: str, query: Select[tuple[Any]], kind: type[AnyRecord]) -> list[AnyRecord]:
        with self._reading() as connection:
            self._require(connection, campaign)
            return [kind.model_validate(record) for record in connection.scalars(query)]


def _insert_new(
    connection: Connection, table: type[Base], key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Insert a row unless one of this key exists. Without a race: writers take turns."""
    columns = table.__table__.c
    wanted = [columns[name] == value for name, value in key.items()]
    if connection.execute(select(literal(1)).select_from(table.__table__).where(*wanted)).first() is None:
        connection.execute(insert(table).values({**key, **values}))


def _campaign(row: RowMapping) -> Campaign:
    fields = {key: row[key] for key in row if key not in ("seq", "fingerprint")}
    return Campaign(fingerprint=Fingerprint.model_validate(row["fingerprint"]), **fields)
