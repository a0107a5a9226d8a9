"""torchtitan. Evidence: torchtitan/train.py, the entry of its package."""

from __future__ import annotations

import re

from mendel.testbeds.recognise.compose import compose, study
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.lengths import Length
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import NUMBER, Said


class Torchtitan:
    """Its options are dotted, `--training.steps`; the model is named by a module and a configuration."""

    def recognise(self, repo: Repository) -> Proposal | None:
        if not repo.has("torchtitan/train.py"):
            return None
        found = study(repo, Entry("torchtitan/train.py", ("-m", "torchtitan.train"), torchrun=True))
        found.knobs = Knobs(
            ("--{key}={value}",),
            [Knob("training.steps"), Knob("optimizer.lr", 8e-4), Knob("training.local_batch_size", 8)],
            given=_model(repo),
        )
        found.length = Length("steps", found.knobs.arguments[0])
        found.seeding.argument, found.seeding.edits = _seed(repo), []
        found.seeding.why = f"option {found.seeding.argument}"
        found.out = Knob("dump_folder" if _plain(repo) else "job.dump_folder")
        found.device = None
        pattern = rf"loss:\s+(?:\x1b\[\d+m)*{NUMBER}"
        found.metric = Said(
            {"pattern": pattern, "unit": "nats per token"}, "its log line: step, loss, memory", False
        )
        proposal = compose(found, "torchtitan", ["torchtitan/train.py"])
        if not repo.machine.cards:
            proposal.notes.append("it needs CUDA, and there is no card here: it cannot run on this machine")
        proposal.notes.append(
            "its validation is off by default: validator.enable, and read its loss in [metric]"
        )
        return proposal


def _model(repo: Repository) -> list[str]:
    """The arguments that choose a model, as run_train.sh has them."""
    text = repo.text("run_train.sh")
    module = re.search(r"MODULE=\$\{MODULE:-\"?([\w.]+)", text)
    config = re.search(r"CONFIG=\$\{CONFIG:-\"?([\w.]+)", text)
    if module and config:
        return [f"--module={module[1]}", f"--config={config[1]}"]
    file = re.search(r"CONFIG_FILE=\$\{CONFIG_FILE:-\"?(?:\./)?([\w./-]+)", text)
    return [f"--job.config_file={file[1]}"] if file else []


def _seed(repo: Repository) -> str:
    texts = "\n".join(
        repo.text(path) for path in repo.python if "config" in path and path.startswith("torchtitan/")
    )
    return "debug.seed" if re.search(r"class Debug", texts) else "training.seed"


def _plain(repo: Repository) -> bool:
    """Whether the folder of the output is an option of its own."""
    return any(
        "--dump_folder" in repo.text(path) for path in ("README.md", "run_train.sh", "docs/checkpoint.md")
    )
