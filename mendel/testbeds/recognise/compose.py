"""A proposal put together from what was found of any trainer: entry, knobs, seed, metric, data, files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mendel.testbeds.recognise.configs import CONFIGS
from mendel.testbeds.recognise.data import Data, find_data
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.knobs import find_knobs
from mendel.testbeds.recognise.lengths import (
    DEVICE,
    EVALUATE,
    FEW,
    FOLDERS,
    OUT,
    Length,
    budgets,
    cut_evaluation,
    evaluates_last,
    find_length,
    horizons,
    literal_interval,
    small,
)
from mendel.testbeds.recognise.metric import find_metric
from mendel.testbeds.recognise.order import Edit
from mendel.testbeds.recognise.proposal import SOURCE, Proposal
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.roles import find_roles
from mendel.testbeds.recognise.said import Said
from mendel.testbeds.recognise.seeding import Seeding, find_seeding
from mendel.testbeds.recognise.source import literal
from mendel.testbeds.recognise.starters import starters


@dataclass
class Study:
    """All that was found of a trainer. A strategy may change it before it becomes a proposal."""

    repo: Repository
    entry: Entry
    knobs: Knobs
    length: Length | None
    seeding: Seeding
    metric: Said | None
    data: Data
    out: Knob | None
    device: Knob | None


def study(repo: Repository, entry: Entry) -> Study:
    """Look at everything."""
    knobs = find_knobs(repo, entry)
    out = knobs.find(OUT, constants=False) or knobs.find(OUT[:FOLDERS]) or _configured(knobs.find(OUT))
    return Study(
        repo=repo,
        entry=entry,
        knobs=knobs,
        length=find_length(knobs),
        seeding=find_seeding(repo, entry, knobs),
        metric=find_metric(repo, entry, out is not None),
        data=find_data(repo, entry),
        out=out,
        device=knobs.find(DEVICE),
    )


def _configured(knob: Knob | None) -> Knob | None:
    """A knob of a configuration file, whose names mean what they say more often than those of constants."""
    return knob if knob and knob.path.endswith(CONFIGS) else None


def compose(found: Study, kind: str, evidence: list[str]) -> Proposal:
    """The proposal: every key with its reason, TODO where the user's hand is needed."""
    proposal = Proposal(kind, evidence=[*evidence, found.entry.why, *found.knobs.evidence])
    needs_cuda = _needs_cuda(found)
    if found.entry.others:
        proposal.notes.append(f"other files train too, such as {', '.join(found.entry.others)}")
    cards = found.repo.machine.cards if _knows_cuda(found) else 0
    edits: list[Edit] = []
    proposal.put("name", _name(found.repo))
    proposal.put("source", SOURCE, "Only read, never written.")
    _environment(found, proposal)
    command, why = _command(found, edits, proposal)
    proposal.put("command", command, why)
    settings = {} if cards else small(found.knobs)
    dear = None if cards else cut_evaluation(found.knobs, found.length, _first(found))
    settings |= {dear.key: FEW} if dear else {}
    settings |= _evaluation(found, command, edits, proposal)
    if found.knobs.override and any(_settable(one) for one in found.knobs.arguments):
        proposal.put("override", list(found.knobs.override), "How a knob is given; a patch may set any.")
        if settings:
            why = "" if cards else "Keeps runs small, and on a CPU. Without it: the defaults."
            if dear:
                why += (
                    f" {dear.key}: the trainer's own {dear.default:,} batches for an evaluation take long "
                    "beside so short a run; more of them make less noise."
                )
            proposal.put("set", settings, why)
    _rungs(found, cards, proposal)
    if cards:
        proposal.put("gpus", 1, "Cards of one run.")
        proposal.put("memory", 6.4e10, "Bytes one run may use.")
    editable = _files(found, proposal)
    _inputs(found, proposal)
    _metric(found, edits, proposal)
    _seed(found, edits)
    if edits:
        fit, lost = fitting(found.repo, edits)
        for edit in lost:
            proposal.say(
                todo=f"in {edit['path']}, {edit['search']!r:.60} is to become {edit['replace']!r:.60}"
            )
        proposal.put("edits", fit, EDITS)
    if needs_cuda and not found.repo.machine.cards:
        proposal.notes.append(
            f"it needs CUDA ({needs_cuda}) and there is no card here: it cannot run on this machine"
        )
    proposal.evidence += _summary(found)
    proposal.ideas = starters(found.repo, found.knobs, [edit["search"] for edit in edits], editable)
    return proposal


def _summary(found: Study) -> list[str]:
    """What stands for length, seed and output, in words."""
    said = []
    if found.length:
        said.append(f"length in {found.length.budget}: {_where(found.length.knob)}")
    if found.seeding.why:
        said.append(f"seed: {found.seeding.why}")
    said += [f"output folder: {_where(found.out)}"] if found.out else []
    return said + found.data.why


def _where(knob: Knob) -> str:
    return f"option {knob.key}" if knob.is_argument else f"{knob.path}: {knob.search!r:.60}"


EDITS = (
    "Made in every run's copy of the source. Where batches come from the global generator it is seeded again "
    "right before the first one: a patch whose initialisation draws other numbers keeps its data order."
)

BELIEVED = (
    "what a run reports as its loss is believed: Mendel does not measure it, and only `protected` keeps "
    "patches from it, so read that list. With a score file (docs/testbed.md) Mendel measures it itself"
)


def _name(repo: Repository) -> str:
    return re.sub(r"[^\w.-]+", "-", repo.root.name).strip("-") or "trainer"


def _environment(found: Study, proposal: Proposal) -> None:
    """Its own interpreter where it has one."""
    for place in (".venv/bin/python", "venv/bin/python", "env/bin/python"):
        if found.repo.exists(place):
            proposal.put("python", f"{SOURCE}/{place}", "The trainer's own interpreter.")
            break
    else:
        lists = [one for one in ("requirements.txt", "uv.lock", "pyproject.toml") if found.repo.has(one)]
        wants = f" It must have what {lists[0]} asks for." if lists else ""
        proposal.say(f"python = ...: the interpreter; Mendel's own without.{wants}")
    if found.entry.pythonpath:
        proposal.put("env", {"PYTHONPATH": found.entry.pythonpath}, "Where its modules are found.")


def _command(found: Study, edits: list[Edit], proposal: Proposal) -> tuple[list[str], str]:
    """The command, and edits for what it cannot be told by arguments."""
    command = [*found.entry.command, *found.knobs.given]
    if found.entry.torchrun:
        count = "{gpus}" if found.repo.machine.cards else "1"
        command = ["torchrun", "--standalone", f"--nproc_per_node={count}", *command]
    told: list[tuple[Knob, str]] = []
    if found.length:
        place = "{" + found.length.budget + "}"
        told.append((found.length.knob, place))
        told += [(one, place) for one in horizons(found.knobs, found.length)]
    if found.seeding.argument:
        key = found.seeding.argument
        told.append((next((one for one in found.knobs.arguments if one.key == key), Knob(key)), "{seed}"))
    told += [(found.out, "{out}")] if found.out else []
    told += [(found.device, "{device}")] if found.device and _takes_device(found.device) else []
    for knob, place in told:
        if knob.is_argument:
            found.knobs.tell(command, knob, place)
        else:
            edits.append(as_edit(knob, place))
    lacking = []
    if not found.length:
        lacking.append("its length ({steps}, {tokens} or {seconds})")
    if not found.seeding.argument and not found.seeding.edits:
        lacking.append("its seed ({seed})")
    if lacking:
        todo = (
            f"tell it {' and '.join(lacking)}, as an argument here or in [[edits]]; nothing was found for it"
        )
        proposal.say(todo=todo)
    return command, "Run in a copy of the source; placeholders are filled in for each run."


def as_edit(knob: Knob, place: str) -> Edit:
    """A constant's value replaced by a placeholder; text stays in quotes."""
    quote = knob.value[:1] if knob.value[:1] in "\"'" else ""
    head = knob.search[: len(knob.search) - len(knob.value)]
    return {"path": knob.path, "search": knob.search, "replace": f"{literal(head)}{quote}{place}{quote}"}


def _settable(knob: Knob) -> bool:
    """Whether a patch could sensibly set it."""
    number = isinstance(knob.default, int | float) or knob.default is None
    return number and not knob.switch and not knob.own


def _takes_device(knob: Knob) -> bool:
    """Whether the knob is given as cpu or cuda."""
    return knob.default in (None, "", "auto", "cuda", "cpu", "gpu") or str(knob.default).startswith("cuda")


def _evaluation(found: Study, command: list[str], edits: list[Edit], proposal: Proposal) -> dict[str, int]:
    """Evaluations at the end alone where the loop makes one there, and otherwise often enough."""
    knob = found.knobs.find(EVALUATE)
    if not found.length or found.length.budget != "steps" or found.length.epochs:
        return {}
    first = int(_first(found))
    often = max(1, first // 10)
    if not knob:
        edit = literal_interval(found.repo, found.metric, often) if found.metric else {}
        if edit:
            edits.append(edit)
            proposal.notes.append(f"it evaluates at {edit['search']!r:.50}, and now every {often} steps")
        return {}
    if evaluates_last(found.repo, found.entry, knob, found.length.knob):
        if knob.is_argument:
            found.knobs.tell(command, knob, "{steps}")
        else:
            edits.append(as_edit(knob, "{steps}"))
        return {}
    if isinstance(knob.default, int) and 0 < knob.default <= often:
        return {}
    proposal.notes.append(
        f"{knob.key}: it may not evaluate after the last step, so it does so every {often} steps"
    )
    if knob.own:
        found.knobs.tell(command, knob, str(often))
        return {}
    if knob.is_argument:
        return {knob.key: often}
    edits.append(as_edit(knob, str(often)))
    return {}


def _first(found: Study) -> float:
    """Budget of the first rung; 0 where it is not known."""
    return budgets(found.length, found.repo.machine.cards)[0] if found.length else 0


def _rungs(found: Study, cards: int, proposal: Proposal) -> None:
    budget = found.length.budget if found.length else "steps"
    proposal.put("budget", budget)
    if not found.length:
        rungs: list[dict[str, float]] = [{budget: 200, "timeout": 600}, {budget: 800, "timeout": 2400}]
        proposal.put("rungs", rungs, "Two scales, the second four times the first.")
        return
    first, second, why = budgets(found.length, cards)
    slack = 300 if budget == "seconds" else 0
    times = (2 * first + slack, 2 * second + slack) if budget == "seconds" else (1200, 4800)
    rungs = [{budget: first, "timeout": times[0]}, {budget: second, "timeout": times[1]}]
    proposal.put("rungs", rungs, f"{why} timeout: seconds after which a run is lost; check it.")
    if budget == "steps" and not found.length.epochs:
        proposal.put("smoke", min(10, int(first)), "Steps that show that a patch works.")


def _files(found: Study, proposal: Proposal) -> list[str]:
    """What may be patched, and what may not; the editable files."""
    roles = find_roles(found.repo, found.entry, found.knobs, found.metric)
    if not found.repo.countable:
        names = sorted({*roles.editable, *(one for one in roles.protected if isinstance(one, str))})
        todo = "too many files, or none that are text; these are what was seen of the source"
        proposal.put("files", names, todo=todo)
    proposal.put("editable", roles.editable, "What a patch may touch; add what you want researched.")
    if roles.protected:
        proposal.put("protected", roles.protected, "What it may not: evaluation, its report, data.")
    if roles.open:
        lines = " and ".join(roles.open)
        proposal.notes.append(
            f"{lines}: they evaluate or tell the loss, and no text names them alone; protect them by hand"
        )
    return roles.editable


def _inputs(found: Study, proposal: Proposal) -> None:
    data = found.data
    if data.inputs:
        proposal.put("inputs", data.inputs, "Read by runs: data, tokenizers. Take out what is not.")
    for one in data.absent:
        made = f"run {data.by_hand} once" if data.by_hand else "make it as the trainer's instructions say"
        proposal.notes.append(f"inputs: {one} is not there yet: {made}")
    if not data.inputs and not data.prepare:
        proposal.notes.append("no data were found: name in inputs what runs read and git does not know")
    if data.prepare:
        proposal.put("prepare", data.prepare, "Done once, in a copy of the source.")


def _metric(found: Study, edits: list[Edit], proposal: Proposal) -> None:
    said = found.metric
    if said is None:
        table = {"pattern": r"val loss:? ([\d.]+)", "unit": "nats per token"}
        proposal.put(
            "metric",
            table,
            todo="how the loss is printed was not found; one group, the number, the last match counts",
        )
        return
    proposal.evidence.append(said.why)
    proposal.notes.append(BELIEVED)
    if said.edit:
        edits.append(said.edit)
    if said.sure:
        proposal.put("metric", said.table, f"{said.why}. The last one counts; less is better.")
    else:
        todo = "this is the loss of training; a validation loss is better, where the trainer can print one"
        proposal.put("metric", said.table, said.why, todo)


def _seed(found: Study, edits: list[Edit]) -> None:
    edits += found.seeding.edits


def fitting(repo: Repository, edits: list[Edit]) -> tuple[list[Edit], list[Edit]]:
    """The edits that can be made one after the other, each search occurring once when its turn comes; and
    those that cannot. One that holds another takes it in."""
    kept: list[Edit] = []
    lost: list[Edit] = []
    for edit in edits:
        within = [one for one in kept if one["path"] == edit["path"] and one["search"] in edit["search"]]
        for inner in within:
            both = edit["replace"].replace(literal(inner["search"]), inner["replace"], 1)
            edit = {**edit, "replace": both}
        before = [one for one in kept if one not in within]
        if _each_once(repo, [*before, edit]):
            kept = [*before, edit]
        else:
            lost.append(edit)
    return kept, lost


def _each_once(repo: Repository, edits: list[Edit]) -> bool:
    texts: dict[str, str] = {}
    for edit in edits:
        text = texts.get(edit["path"], repo.text(edit["path"]))
        if text.count(edit["search"]) != 1 or repo.text(edit["path"]).count(edit["search"]) != 1:
            return False
        texts[edit["path"]] = text.replace(edit["search"], edit["replace"])
    return True


def _knows_cuda(found: Study) -> bool:
    return any(re.search(r"cuda|accelerator", found.repo.text(path)) for path in _read(found))


def _needs_cuda(found: Study) -> str:
    """The line of the entry that asks for a card without asking whether there is one; empty without."""
    path, text = found.entry.path, found.repo.text(found.entry.path)
    asks = "is_available" in text and not re.search(r"(?m)^assert torch\.cuda\.is_available", text)
    if asks or (found.device and found.device.path == path):
        return ""
    asked = re.compile(r"torch\.device\(f?['\"]cuda|\.cuda\(\)|^\s*device ?= ?['\"]cuda|^assert torch\.cuda")
    given = found.device.name if found.device and found.device.is_argument else "\0"
    for number, line in enumerate(text.splitlines(), 1):
        if asked.search(line) and given not in line:
            return f"{path}, line {number}"
    return ""


def _read(found: Study) -> list[str]:
    return [found.entry.path, *found.repo.imported(found.entry.path)]
