"""nanoGPT. Evidence: train.py executes configurator.py, model.py has a GPT, config/ has Shakespeare."""

from __future__ import annotations

from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.ready import filled
from mendel.testbeds.recognise.repository import Repository

NEEDED = ("train.py", "model.py", "configurator.py", "config/train_shakespeare_char.py")
SEED = "torch.manual_seed(1337 + seed_offset)"
FIRST = "X, Y = get_batch('train') # fetch the very first batch"


class NanoGPT:
    """Exactly nanoGPT: a fork with another seed or loop is for the strategies that look closer."""

    def recognise(self, repo: Repository) -> Proposal | None:
        text = repo.text("train.py")
        whole = repo.has(*NEEDED, "data/shakespeare_char/prepare.py") and "class GPT(" in repo.text(
            "model.py"
        )
        once = (SEED, FIRST, "def estimate_loss", "losses = estimate_loss()")
        if not whole or any(text.count(part) != 1 for part in once):
            return None
        proposal = filled(repo, "nanogpt-char", "nanoGPT")
        proposal.evidence.append("train.py executes configurator.py; model.py and config/ are nanoGPT's")
        proposal.notes.append(
            "character Shakespeare, small enough for a CPU; GPT-2 124M on 8 cards: --as nanogpt-124m"
        )
        return proposal
