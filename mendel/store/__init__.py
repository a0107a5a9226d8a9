"""The store: everything a campaign knows, on disk, in the order in which it was decided.

    with Store(Path(".mendel")) as store:
        campaign = store.create_campaign("demo", 1, "gpt", "gpt2", {}, fingerprint).id
        with store.lock(campaign):
            store.requeue_running(campaign)
            ...

See `docs/store.md` for the tables and the folders.
"""

from mendel.store.entries import (
    Blank,
    Call,
    Campaign,
    Cost,
    Event,
    Foreseen,
    IdeaEntry,
    LedgerRow,
    Opening,
    RunEntry,
    Usage,
)
from mendel.store.errors import StoreError
from mendel.store.folders import RunFolder, Tree, new_run_folder, smoke_name
from mendel.store.history import CARRIES, EXPLAINED, HALVES, RESEARCH, TUNED, Confirmation, Planted, Trial
from mendel.store.store import Store
from mendel.store.tables import CallState, CampaignState, IdeaState, RunState

__all__ = [
    "CARRIES",
    "EXPLAINED",
    "HALVES",
    "TUNED",
    "Blank",
    "Call",
    "CallState",
    "Campaign",
    "CampaignState",
    "Confirmation",
    "Cost",
    "Event",
    "Foreseen",
    "IdeaEntry",
    "IdeaState",
    "LedgerRow",
    "Opening",
    "Planted",
    "RESEARCH",
    "RunEntry",
    "RunFolder",
    "RunState",
    "Store",
    "StoreError",
    "Tree",
    "Trial",
    "Usage",
    "new_run_folder",
    "smoke_name",
]
