"""PyTorch Lightning. Evidence: a LightningModule, and a script that calls fit of a Trainer."""

from __future__ import annotations

import ast
import re

from mendel.testbeds.recognise.compose import Study, compose, study
from mendel.testbeds.recognise.entry import find_entry
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import LOSS, NUMBER, VALIDATION, Said, unit
from mendel.testbeds.recognise.source import constant, dotted, indent, line_once, literal


class Lightning:
    """The Trainer's own validation prints a table; the loss is read from it, or printed by an edit."""

    def recognise(self, repo: Repository) -> Proposal | None:
        entry = find_entry(repo)
        if entry is None:
            return None
        files = [entry.path, *repo.imported(entry.path)]
        texts = "\n".join(repo.text(path) for path in files)
        imports = re.search(r"(?m)^\s*(?:import|from) (?:pytorch_lightning|lightning)\b", texts)
        if not imports or not re.search(r"\.fit\(|LightningCLI\(", texts):
            return None
        found = study(repo, entry)
        if found.metric is None or not found.metric.sure:
            found.metric = _logged(repo, files) or found.metric
        proposal = compose(found, "PyTorch Lightning", [f"{entry.path} fits a LightningModule"])
        if "LightningCLI(" in texts:
            _cli(found, proposal)
        return proposal


def _logged(repo: Repository, files: list[str]) -> Said | None:
    """`self.log("val_loss", loss)` in a validation step: printed at the end of the epoch by an edit."""
    for path in files:
        tree, text = repo.tree(path), repo.text(path)
        for node in ast.walk(tree) if tree else ():
            if not isinstance(node, ast.Call) or dotted(node.func) != "self.log" or len(node.args) < 2:
                continue
            key = str(constant(node.args[0]))
            spaced = re.sub(r"[_/.-]", " ", key)
            if not VALIDATION.search(spaced) or not LOSS.search(spaced):
                continue
            hook = (
                next(
                    (
                        one
                        for one in ast.walk(tree)
                        if isinstance(one, ast.FunctionDef) and one.name == "validation_step"
                    ),
                    None,
                )
                if tree
                else None
            )
            search = line_once(text, hook.lineno) if hook else ""
            if hook is None or not search:
                continue
            space = indent(text, hook.lineno)
            value = f"float(self.trainer.callback_metrics[{key!r}])"
            said = f'print("mendel {key}:", {value}, flush=True)'
            end = f"def on_validation_epoch_end(self):\n{space}    {said}"
            if "def on_validation_epoch_end" in text:
                continue
            edit = {"path": path, "search": search, "replace": f"{literal(end)}\n\n{space}{literal(search)}"}
            why = f"{path}, line {node.lineno}: it logs {key!r}, which an edit prints after each validation"
            return Said({"pattern": f"mendel {re.escape(key)}: {NUMBER}", "unit": unit(key)}, why, True, edit)
    return None


def _cli(found: Study, proposal: Proposal) -> None:
    """What LightningCLI takes: the keys of the Trainer, and seed_everything."""
    proposal.notes.append(
        "LightningCLI: the command may need fit, --trainer.max_steps={steps} and --seed_everything={seed}"
    )
