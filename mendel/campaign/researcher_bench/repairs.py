"""Patches that are broken in all the ways that patches are, and whether they get mended.

What a run does follows from the words of its source: a patch is broken as long as the words that break it are
there. So this measures the way from a failure to whoever can mend it, and of a real model whether it finds
what is wrong and says it in a patch that applies and passes the audits; not whether the mended idea is good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mendel.campaign.researcher_bench.world import Flaw, Site, World, playing
from mendel.records import RunStatus
from mendel.researchers.models import make_model
from mendel.researchers.settings import CHEAP, STRONG
from mendel.store import IdeaState
from mendel.testing.messages_client import loopback_model
from mendel.testing.messages_records import Request
from mendel.testing.team import Team, Values, change, edit, proposal, repair

GELU = "            h_BTF = F.gelu(h_BTF)\n"
LOGITS = "        logits_BTV = self.head(self.norm(x_BTW)).float()\n"
CLASSES = ("architecture", "attention", "optimiser", "shape")


@dataclass(frozen=True)
class Case:
    """One broken patch."""

    name: str
    broken: Values
    breaks: str = ""
    """Words of the source or settings that break it; empty where it does not even apply."""
    status: RunStatus = RunStatus.CRASHED
    reason: str = ""
    mended: Values | None = None
    """What an honest debugger answers; None: that the idea cannot work."""
    by: str = "debugger"
    """Who is meant to end it: a rule, the debugger, or the engineer, to whom it goes back at once."""


def _code(replace: str, search: str = GELU, path: str = "model.py") -> Values:
    return change(edit(search, replace, path))


def _gelu(code: str) -> Values:
    return _code(f"            h_BTF = {code}\n")


SQUARE = _gelu("F.relu(h_BTF).square()")
CASES: tuple[Case, ...] = (
    Case("not-found", _code("x\n", "h_BTF = F.gelu(h_BTT)\n"), mended=SQUARE, by="engineer"),
    Case("found-twice", _code("x\n", "transpose(1, 2)"), mended=SQUARE, by="engineer"),
    Case("syntax-error", _gelu("F.gelu(h_BTF"), mended=SQUARE, by="engineer"),
    Case("protected-file", _code("x = 1\n", "import torch\n", "score.py"), mended=SQUARE, by="engineer"),
    Case("misspelt-name", _gelu("F.gelu(h_BFT)"), "h_BFT",
         reason="NameError: name 'h_BFT' is not defined", mended=_gelu("F.gelu(h_BTF).clone()")),
    Case("shape-mismatch", _gelu("F.gelu(h_BTF)[..., ::2]"), "::2",
         reason="RuntimeError: mat1 and mat2 shapes cannot be multiplied (1024x128 and 256x64)",
         mended=_gelu("F.gelu(h_BTF) * 1.0")),
    Case("wrong-keyword", _gelu('F.gelu(h_BTF, approx="tanh")'), "approx=",
         reason="TypeError: gelu() got an unexpected keyword argument 'approx'",
         mended=_gelu('F.gelu(h_BTF, approximate="tanh")')),
    Case("missing-import", _gelu("h_BTF * np.tanh(h_BTF)"), "np.tanh",
         reason="NameError: name 'np' is not defined", mended=_gelu("h_BTF * torch.tanh(h_BTF)")),
    Case("wrong-attribute", _gelu("F.swish(h_BTF)"), "F.swish",
         reason="AttributeError: module 'torch.nn.functional' has no attribute 'swish'",
         mended=_gelu("F.silu(h_BTF)")),
    Case("misspelt-method", _gelu("F.gelu(h_BTF).sqare()"), "sqare",
         reason="AttributeError: 'Tensor' object has no attribute 'sqare'",
         mended=_gelu("F.gelu(h_BTF).square()")),
    Case("hot-setting", change(lr=0.5), "lr=0.5", RunStatus.DIVERGED, "loss is nan at step 3", by="rule"),
    Case("diverging-code", _gelu("h_BTF.exp()"), "h_BTF.exp()", RunStatus.DIVERGED, "loss is inf at step 2",
         mended=_gelu("h_BTF.clamp(max=4.0).exp()")),
    Case("out-of-memory", change(batch=8192), "batch=8192", RunStatus.OUT_OF_MEMORY, "over 4 GB", by="rule"),
    Case("too-slow", change(depth=48), "depth=48", RunStatus.TIMED_OUT, "no end after 60 s", by="rule"),
    Case("not-divisible", change(head_dim=15), "head_dim=15",
         reason="ValueError: head_dim = 15 must be divisible by 2", by="rule"),
    Case("cannot-work", _gelu("self.next_tokens(h_BTF)"), "next_tokens",
         reason="AttributeError: the tokens that follow are not known to the model"),
)  # fmt: skip


class Menders(Team):
    """Brings every broken patch, and answers as an honest engineer or debugger would."""

    def __init__(self, cases: Sequence[Case]) -> None:
        ideas = [
            proposal(one.name, f"Change {one.name}.", CLASSES[place % len(CLASSES)])
            for place, one in enumerate(cases)
        ]
        mended = {one.name: repair(one.mended, "mended") for one in cases if one.mended is not None}
        no = repair(change(), "what it needs is not there", broken=True)
        super().__init__(
            [ideas],
            {one.name: one.broken for one in cases},
            {one.name: mended.get(one.name, no) for one in cases},
        )
        self.mended = {one.name: one.mended for one in cases}

    def engineer(self, question: str, back: Sequence[str], request: Request) -> Values:
        name = question.partition("\n\n")[2].partition(" (")[0]
        return (self.mended[name] or self.changes[name]) if back else self.changes[name]


def mend_all(ground: Site, model: str = "", say: Callable[[str], None] = print) -> dict[str, Any]:
    """How many were mended or rightly given up; `model` debugs instead of the script, and costs."""
    team = Menders(CASES)
    flaws = {one.breaks: Flaw(one.status, one.reason, _log(one)) for one in CASES if one.breaks}
    script = CHEAP if model != CHEAP else STRONG
    named = dict.fromkeys(("proposer", "engineer", "novelty", "analyst", "librarian"), script)
    seats = {
        "ideas": len(CASES),
        "models": {**named, "debugger": model or script, "forecasters": (script,)},
        "patience": 60.0 if model else 1.0,
    }
    make = partial(_make, model)
    with playing(
        ground, "repairs", team, World(flaws=flaws), budget="90runs", researchers=seats, make=make
    ) as played:
        entries = {one.idea.name: one for one in played.store.ideas(played.campaign)}
        asked = {call.task.split("/")[2] for call in played.store.calls(played.campaign)
                 if call.seat == "debugger"}  # fmt: skip
        steps = {
            one.name: len(played.store.calls(played.campaign, task=f"0/write/{one.name}")) for one in CASES
        }
        spent = played.store.usage(played.campaign, seat="debugger").dollars
    rows = []
    for one in CASES:
        entry = entries.get(one.name)
        runs = entry is not None and entry.state not in (IdeaState.FAILED, IdeaState.REJECTED)
        given_up = entry is not None and "the idea itself is broken" in entry.note
        done = given_up if one.mended is None and one.by == "debugger" else runs
        by = "debugger" if one.name in asked else "engineer" if steps[one.name] > 1 else "rule"
        rows.append({"name": one.name, "repaired": done, "by": by, "meant": one.by})
        say(f"{one.name}: {'ended as it should' if done else 'not mended'}, by the {by}")
    return {
        "model": model or "scripted",
        "tried": len(rows),
        "repaired": sum(row["repaired"] for row in rows),
        "by": {who: sum(row["by"] == who and row["repaired"] for row in rows)
               for who in ("engineer", "rule", "debugger")},
        "cost_usd": spent,
        "all": rows,
    }  # fmt: skip


def _make(real: str, url: str, name: str) -> Any:
    return make_model(name) if name == real else loopback_model(url, name)


def _log(case: Case) -> str:
    return f'Traceback (most recent call last):\n  File "train.py", line 88, in main\n{case.reason}\n'
