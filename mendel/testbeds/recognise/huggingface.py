"""The Trainer of Hugging Face. Evidence: a script that makes TrainingArguments and a Trainer."""

from __future__ import annotations

import re

from mendel.testbeds.recognise.compose import Study, compose, study
from mendel.testbeds.recognise.entry import find_entry
from mendel.testbeds.recognise.knob import Knob
from mendel.testbeds.recognise.lengths import Length
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import NUMBER, Said

PARSED = re.compile(r"HfArgumentParser|parse_args_into_dataclasses|TrlParser|SFTConfig")


class HuggingFace:
    """Options of TrainingArguments where the script parses them; otherwise the arguments in its source."""

    def recognise(self, repo: Repository) -> Proposal | None:
        entry = find_entry(repo)
        text = repo.text(entry.path) if entry else ""
        if entry is None or not re.search(r"TrainingArguments", text) or "Trainer" not in text:
            return None
        found = study(repo, entry)
        if PARSED.search(text):
            _options(found)
        _metric(found, text)
        proposal = compose(
            found, "Hugging Face Trainer", [f"{entry.path} makes TrainingArguments and a Trainer"]
        )
        if not PARSED.search(text) and found.length is None:
            proposal.notes.append(
                "TrainingArguments are made in the source: give max_steps there an edit with {steps}"
            )
        return proposal


def _options(found: Study) -> None:
    """What every script with HfArgumentParser takes."""
    found.knobs.override = found.knobs.override or ("--{key}={value}",)
    found.knobs.arguments += [
        Knob("max_steps", -1),
        Knob("learning_rate", 5e-5),
        Knob("adam_beta2", 0.999),
        Knob("per_device_train_batch_size", 8),
    ]
    found.length = Length("steps", Knob("max_steps", -1))
    found.seeding.argument, found.seeding.edits, found.seeding.sure = "seed", [], True
    found.seeding.why = "option seed of TrainingArguments, which seeds initial values and data order"
    found.out = Knob("output_dir")
    found.knobs.given += [one for one in ("--do_train", "--do_eval") if one not in found.knobs.given]
    found.knobs.given += ["--report_to=none", "--save_strategy=no"]


def _metric(found: Study, text: str) -> None:
    """The dictionary with eval_loss that a Trainer prints after it evaluated."""
    if re.search(r"\.evaluate\(|eval_strategy|evaluation_strategy", text):
        table = {"pattern": rf"eval_loss['\"]?\s*[:=]\s*['\"]?{NUMBER}", "unit": "nats per token"}
        found.metric = Said(table, "a Trainer prints eval_loss after it evaluated")
