"""autoresearch and folders like it. Evidence: prepare.py, train.py and program.md beside each other, and a
time budget in prepare.py or train.py."""

from __future__ import annotations

from mendel.testbeds.recognise.compose import compose, study
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.ready import filled
from mendel.testbeds.recognise.repository import Repository

SOURCES = {
    "prepare.py": ("TIME_BUDGET = 300 ",),
    "train.py": (
        *(
            "torch.manual_seed(42)",
            "torch.cuda.manual_seed(42)",
            "val_bpb = evaluate_bpb(",
            'print(f"val_bpb:',
        ),
    ),
}
"""File -> what occurs in it once where it is as published."""


class Autoresearch:
    """The ready-made file for the repository as it is published; for others, what their own files say."""

    def recognise(self, repo: Repository) -> Proposal | None:
        if not repo.has("prepare.py", "train.py", "program.md"):
            return None
        evidence = "prepare.py, train.py and program.md, as autoresearch has them"
        published = all(repo.text(path).count(one) == 1 for path, texts in SOURCES.items() for one in texts)
        if published and 'torch.device("cuda")' in repo.text("train.py"):
            proposal = filled(repo, "autoresearch", "autoresearch")
            proposal.evidence.append(evidence)
            if not repo.machine.cards:
                proposal.notes.append("train.py computes on CUDA alone: it cannot run on this machine")
            return proposal
        found = study(repo, Entry("train.py", ("train.py",), why="train.py trains"))
        return compose(found, "like autoresearch", [evidence])
