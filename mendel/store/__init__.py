"""The store: everything a campaign knows, on disk, in the order in which it was decided.

    with Store(Path(".mendel")) as store:
        campaign = store.create_campaign("demo", 1, "gpt", "gpt2", {}, fingerprint).id
        with store.lock(campaign):
            store.requeue_running(campaign)
            ...

See `docs/store.md` for the tables and the folders.
"""

from mendel.store.entries import Blank, Campaign, Cost, Event, IdeaEntry, LedgerRow, Opening, RunEntry
from mendel.store.errors import StoreError
from mendel.store.folders import RunFolder, Tree, new_run_folder, smoke_name
from mendel.store.history import CARRIES, HALVES, TUNED, Confirmation, Planted, Trial
from mendel.store.store import Store
from mendel.store.tables import CampaignState, IdeaState, RunState

__all__ = [
    "CARRIES",
    "HALVES",
    "TUNED",
    "Blank",
    "Campaign",
    "CampaignState",
    "Confirmation",
    "Cost",
    "Event",
    "IdeaEntry",
    "IdeaState",
    "LedgerRow",
    "Opening",
    "Planted",
    "RunEntry",
    "RunFolder",
    "RunState",
    "Store",
    "StoreError",
    "Tree",
    "Trial",
    "new_run_folder",
    "smoke_name",
]
