"""nanochat. Evidence: scripts/base_train.py with nanochat/gpt.py, and the seed in nanochat/common.py."""

from __future__ import annotations

from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.ready import filled
from mendel.testbeds.recognise.repository import Repository


class Nanochat:
    """Its ladder of depths for a card; without one, a small model on the CPU."""

    def recognise(self, repo: Repository) -> Proposal | None:
        if not repo.has("scripts/base_train.py", "nanochat/gpt.py", "nanochat/common.py"):
            return None
        common, script = repo.text("nanochat/common.py"), repo.text("scripts/base_train.py")
        seeds = common.count("    torch.manual_seed(42)") == 1 == common.count("torch.cuda.manual_seed(42)")
        if (
            not seeds
            or script.count("val_loader = build_val_loader()") != 1
            or "--num-iterations" not in script
        ):
            return None
        name = "nanochat" if repo.machine.cards else "nanochat-cpu"
        proposal = filled(repo, name, "nanochat")
        proposal.evidence.append("scripts/base_train.py trains nanochat/gpt.py, seeded in nanochat/common.py")
        if not repo.machine.cards:
            proposal.notes.append(
                "no card here, so a small model on the CPU; the ladder of depths: --as nanochat"
            )
        return proposal
