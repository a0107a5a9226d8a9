"""`mendel review`: a person reads what researchers wrote before it runs."""

from __future__ import annotations

from rich.console import Console

from mendel.campaign.config import ConfigError
from mendel.recipe_commands import Json, open_store, print_json, print_result
from mendel.store import IdeaEntry, IdeaState, Store

MOST_WORDS = 600
"""Characters of a hypothesis in the list."""


def review(
    idea: str | None = None, /, *, approve: bool = False, reject: str | None = None,
    campaign: str | None = None, json: Json = False,
) -> None:  # fmt: skip
    """List the patches that wait for a person; read one, approve it, or reject it.

    Parameters
    ----------
    idea
        Name of an idea that waits; without it, all that wait are listed.
    approve
        Let it run.
    reject
        Drop it; the reason is kept, and researchers read it.
    """
    from mendel.report.lookup import describe, render
    from mendel.report.text import clean

    with open_store() as store:
        found = store.campaign(campaign)
        waiting = store.ideas(found.id, IdeaState.REVIEW)
        if idea is None:
            if approve or reject is not None:
                raise ConfigError("command line: review: name the idea to approve or to reject")
            rows = [{"idea": one.idea.name, "hypothesis": one.idea.hypothesis} for one in waiting]
            lines = [f"{row['idea']}: {clean(row['hypothesis'], MOST_WORDS)}" for row in rows]
            words = "\n".join(lines) or f"No patch waits in campaign {found.id}."
            print_result(json, {"campaign": found.id, "waiting": rows}, words)
            return
        _waits(waiting, idea, found.id)
        if approve == (reject is not None):
            if approve:
                raise ConfigError("command line: review: --approve and --reject exclude each other")
            described = describe(store, found, idea)
            print_json(described) if json else render(Console(), described)
            return
        state, note = _decide(store, found.id, idea, reject)
    print_result(json, {"idea": idea, "state": state}, f"{idea}: {note}")


def _waits(waiting: list[IdeaEntry], idea: str, campaign: str) -> None:
    names = [one.idea.name for one in waiting]
    if idea not in names:
        listed = ", ".join(names) or "none"
        raise ConfigError(f"review: {idea!r} does not wait in campaign {campaign}; these do: {listed}")


def _decide(store: Store, campaign: str, idea: str, reject: str | None) -> tuple[str, str]:
    if reject is None:
        state, note = IdeaState.QUEUED, "approved by a person"
    else:
        state, note = IdeaState.DROPPED, f"rejected by a person: {reject or 'no reason given'}"
    with store.transaction():
        store.set_idea_state(campaign, idea, state, note)
        store.event(campaign, "review", f"{idea}: {note}", idea)
    return state.value, note
