"""What a commit says of the change it holds: the claim, its numbers, how they came about, what refutes it.

Every number is from the store. Text that others wrote (hypotheses, citations) is laid out so that it can be
taken for nothing else: `git am` and `git interpret-trailers` read what begins a line.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mendel.campaign.export_changes import Change, Held
from mendel.campaign.summary import rechecks
from mendel.knowledge.findings import cm
from mendel.records import (
    NO_FILES,
    Finding,
    Fingerprint,
    Interval,
    Plan,
    PlanKind,
    Recheck,
    Scalar,
    Shard,
    Verdict,
)
from mendel.store import Store
from mendel.testbeds.source import Source

WIDTH = 72
SHARDS = {Shard.HELD_OUT: "held-out text", Shard.VALIDATION: "validation text"}
OWN_DATA = "the run's own validation data"
"""Where runs report their loss there are no shards: screening and confirmation see the same."""


def message(store: Store, held: Held, change: Change, empty: bool) -> str:
    """The whole message of a change's commit; `empty`: it changes no file."""
    idea, finding = change.idea, change.finding
    rows = {"Hypothesis": idea.hypothesis, "Mechanism": idea.mechanism, "Source": idea.citation}
    rows["Proposed by"] = idea.proposer
    words = [paragraph(label, text) for label, text in rows.items() if plain(text)]
    numbers = _claimed(store, held, finding) if finding else _carried(held)
    knobs = _knobs(held.source, change, empty)
    trust = _trust(store, held)
    parts = [subject(change), "\n".join(words), numbers, knobs, trust, _trailers(held, change, empty)]
    return "\n\n".join(part for part in parts if part) + "\n"


def subject(change: Change) -> str:
    """One line: what is adopted, and as much of why as fits."""
    hypothesis = plain(change.idea.hypothesis).rstrip(".")
    return textwrap.shorten(f"Adopt {change.idea.name}: {hypothesis}", WIDTH, placeholder=" ...").rstrip(":")


def paragraph(label: str, text: str) -> str:
    """`label: text` in lines of which only the first begins at the margin."""
    filled = textwrap.wrap(
        plain(text), WIDTH, initial_indent=f"{label}: ", subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in filled)


def plain(text: str) -> str:
    """One line of printable characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


# --- numbers ------------------------------------------------------------------------------------------


def _claimed(store: Store, held: Held, finding: Finding) -> str:
    alpha = held.campaign.config["policy"]["alpha"]
    effect, control = finding.log2_cm, finding.control
    label = store.labels().get(control) or "its control"
    lines = [
        paragraph(
            "Compute multiplier",
            f"{cm(effect)} ({effect.level:.0%} interval) at rung {finding.rung}, {finding.measured}, over "
            f"{label} (recipe {control}), in round {finding.round}",
        ),
        *(
            paragraph(f"At rung {one.rung}", f"{cm(one.log2_cm)}, {one.pairs} pairs")
            for one in finding.by_rung
        ),
    ]
    if finding.transfer_words:
        lines.append(paragraph("Transfer", finding.transfer_words))
    lines.append(paragraph("Cost", _cost(held.campaign.fingerprint, finding)))
    lines += [paragraph("Verdict", words) for words in _verdicts(store, held, finding)]
    lines += _earned(store, held, finding.idea.name)
    lines.append(
        paragraph("Status", f"claimed; the campaign's false-discovery rate is controlled at {alpha:.3g}")
    )
    lines.append(paragraph("What would refute it", finding.refuted_by))
    return "\n".join(filter(None, lines))


def _cost(print_: Fingerprint, finding: Finding) -> str:
    words = f"{finding.cost_ratio:.3f} times its control's per {print_.currency.each}, as charged"
    if finding.cpu_ratio is None:
        return words
    ratio = finding.cpu_ratio
    return f"{words}; {print_.clock} {ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]"


def _verdicts(store: Store, held: Held, finding: Finding) -> list[str]:
    """The verdicts behind a finding, each in a line."""
    known = {verdict.id: verdict for verdict in store.verdicts(held.campaign.id)}
    plans = {plan.id: plan for plan in store.plans(held.campaign.id)}
    mine = [known[id] for id in finding.verdicts if id in known]
    return [_verdict(store, held, verdict, plans[verdict.plan]) for verdict in mine if verdict.plan in plans]


def _verdict(store: Store, held: Held, verdict: Verdict, plan: Plan) -> str:
    kind = {PlanKind.CONFIRM: "confirmation", PlanKind.ESTIMATE: "effect size"}.get(plan.kind, plan.kind)
    halves = f" of random halves of {verdict.together} ideas" if verdict.together else ""
    print_ = held.campaign.fingerprint
    where = OWN_DATA if print_.reported else SHARDS[plan.shard]
    words = f"{kind}: {verdict.kind}, {verdict.pairs} pairs{halves} on {where}"
    if verdict.difference:
        gain = verdict.difference
        words += f", gain {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] {print_.unit}"
    audits = store.decision(held.campaign.id, f"audits/{verdict.id}") or []
    for passed, said in ((True, "passed"), (False, "not passed")):
        # By name: where runs report their loss, none of them is an audit of the loss.
        names = dict.fromkeys(audit["name"] for audit in audits if audit["passed"] is passed)
        words += f"; audits {said}: {', '.join(names)}" if names else ""
    return words


def _earned(store: Store, held: Held, name: str) -> list[str]:
    """What the last recheck of the trunk says that the change still adds."""
    seen = [Recheck.model_validate(one) for one in rechecks(store, held.campaign)]
    for recheck in reversed(seen):
        for change in recheck.changes:
            if change.name == name and change.log2_cm is not None:
                words = f"{change.standing.value}: it adds CM {cm(change.log2_cm)} to the rest, "
                return [paragraph("Rechecked", f"{words}{change.pairs} fresh pairs")]
    return []


def _carried(held: Held) -> str:
    status = (
        "carried: proven with the trunk as a whole, and not claimed by itself. It has no compute multiplier "
        "of its own."
    )
    refuted = "the trunk without it doing as well as the trunk with it on fresh seeds (mendel ablate)"
    lines = [paragraph("Status", status), paragraph("The whole trunk", whole_trunk(held))]
    return "\n".join([*lines, paragraph("What would refute it", refuted)])


def whole_trunk(held: Held) -> str:
    """The newest measurement of the trunk in words."""
    point = held.point
    log2_cm = Interval.model_validate(point["log2_cm"])
    when = "in its last check, on fresh seeds" if point["checked"] else f"after round {point['round']}"
    count = len(point["adopted"])
    return (
        f"CM {cm(log2_cm)} over {held.campaign.recipe} at rung {point['rung']} {when}, with {count} changes"
    )


def _knobs(source: Source, change: Change, empty: bool) -> str:
    overrides = change.idea.patch.overrides
    lines = []
    if change.written and not empty:
        shown = ", ".join(f"{key} = {overrides[key]}" for key in change.written)
        lines.append(
            paragraph("Defaults changed here", f"{shown} (arguments of the command line when measured)")
        )
    if change.left:
        shown = "; ".join(
            f"{as_argument(source, key, overrides[key])} ({why})" for key, why in change.left.items()
        )
        lines.append(paragraph("To be set on the command line", shown))
    if empty:
        lines.append(paragraph("No file changes", "the finding is the value of a setting, given below"))
    return "\n".join(lines)


def as_argument(source: Source, key: str, value: Scalar) -> str:
    """A knob's value as the testbed's trainer takes it on its command line."""
    return shlex.join(part.format(key=key, value=value) for part in source.override or ("{key}={value}",))


def _trust(store: Store, held: Held) -> str:
    """What the records say of who told the losses, of the machine, the walls around the runs and the text."""
    print_ = held.campaign.fingerprint
    if print_.reported:
        words = [f"paired runs, losses in {print_.unit} {print_.trust.words}"]
        read = f"files that runs read {print_.corpus}" if print_.corpus != NO_FILES else ""
    else:
        words = ["paired runs, scored by the lab and not by the code under test"]
        read = f"corpus {print_.corpus}"
    libraries = ", ".join(f"{name} {version}" for name, version in print_.libraries.items())
    sandbox = (store.decision(held.campaign.id, "loop") or {}).get("sandbox")
    machine = (print_.device, print_.instruction_set, read, libraries)
    words.append(", ".join(filter(None, (*machine, f"sandbox: {sandbox['name']}" if sandbox else ""))))
    lines = [paragraph("How it was measured", "; ".join(words))]
    if print_.trust.caveat:
        lines.append(paragraph("Caveat", print_.trust.caveat))
    return "\n".join(lines)


def _trailers(held: Held, change: Change, empty: bool) -> str:
    finding = change.finding
    rows: list[tuple[str, str]] = [("Idea", change.idea.name), ("Campaign", held.campaign.id)]
    rows.append(("Status", "claimed" if finding else "carried"))
    if finding:
        rows.append(("CM", cm(finding.log2_cm)))
        rows += [("Verdict", id) for id in finding.verdicts]
    rows += [("Override", f"{key}={value}") for key, value in overrides_of(change, empty).items()]
    return "\n".join(f"Mendel-{name}: {plain(value)}" for name, value in rows)


def overrides_of(change: Change, empty: bool) -> Mapping[str, Any]:
    """The settings of a change that its commit does not make by itself."""
    own = change.idea.patch.overrides
    return {key: value for key, value in own.items() if empty or key in change.left}


def first_commit(held: Held, files: Sequence[str]) -> str:
    """The message of the commit that the series rests on, or begins with."""
    source = held.source
    if source.repository is None:
        head = "The source as the campaign found it"
        body = paragraph("Why it begins here", source.reason or "the source is in no git repository")
    else:
        head = "What was not committed when the campaign began"
        body = paragraph(
            "Files", f"{', '.join(files)}: the changes that follow were measured on them as they are here"
        )
    return f"{head}\n\n{body}\n\nMendel-Campaign: {held.campaign.id}\n"
