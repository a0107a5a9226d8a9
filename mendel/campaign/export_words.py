"""What a commit says of the change it holds: the claim, its numbers, how they came about, what refutes it.

Every number is from the store. Text that others wrote (hypotheses, citations) is laid out so that it can be
taken for nothing else: `git am` and `git interpret-trailers` read what begins a line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mendel.campaign.export_changes import Change, Held
from mendel.campaign.summary import rechecks
from mendel.knowledge.findings import cm
from mendel.records import Finding, Interval, Plan, PlanKind, Recheck, Shard, Verdict
from mendel.store import Store

WIDTH = 72
SHARDS = {Shard.HELD_OUT: "held-out text", Shard.VALIDATION: "validation text"}


def message(store: Store, held: Held, change: Change, empty: bool) -> str:
    """The whole message of a change's commit; `empty`: it changes no file."""
    idea, finding = change.idea, change.finding
    words = [
        paragraph("Hypothesis", idea.hypothesis),
        paragraph("Mechanism", idea.mechanism),
        paragraph("Source", f"{idea.citation or 'none given'} (proposed by: {idea.proposer})"),
    ]
    numbers = _claimed(store, held, finding) if finding else _carried(held)
    knobs = _knobs(change, empty)
    trust = paragraph("How it was measured", _trust(store, held))
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
    return "\n".join(line.rstrip() for line in filled) or f"{label}: -"


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
    lines.append(paragraph("Cost", _cost(finding)))
    lines += [paragraph("Verdict", words) for words in _verdicts(store, held, finding)]
    lines += _earned(store, held, finding.idea.name)
    lines.append(
        paragraph("Status", f"claimed; the campaign's false-discovery rate is controlled at {alpha:.3g}")
    )
    lines.append(paragraph("What would refute it", finding.refuted_by))
    return "\n".join(lines)


def _cost(finding: Finding) -> str:
    words = f"{finding.cost_ratio:.3f} times its control's per token, as charged"
    if finding.cpu_ratio is None:
        return words
    ratio = finding.cpu_ratio
    return f"{words}; CPU seconds {ratio.value:.2f} times [{ratio.low:.2f}, {ratio.high:.2f}]"


def _verdicts(store: Store, held: Held, finding: Finding) -> list[str]:
    """The verdicts behind a finding, each in a line."""
    known = {verdict.id: verdict for verdict in store.verdicts(held.campaign.id)}
    plans = {plan.id: plan for plan in store.plans(held.campaign.id)}
    mine = [known[id] for id in finding.verdicts if id in known]
    return [_verdict(store, held, verdict, plans[verdict.plan]) for verdict in mine if verdict.plan in plans]


def _verdict(store: Store, held: Held, verdict: Verdict, plan: Plan) -> str:
    kind = {PlanKind.CONFIRM: "confirmation", PlanKind.ESTIMATE: "effect size"}.get(plan.kind, plan.kind)
    halves = f" of random halves of {verdict.together} ideas" if verdict.together else ""
    words = f"{kind}: {verdict.kind}, {verdict.pairs} pairs{halves} on {SHARDS[plan.shard]}"
    if verdict.difference:
        gain = verdict.difference
        words += f", gain {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] bits per byte"
    audits = store.decision(held.campaign.id, f"audits/{verdict.id}") or []
    passed = sum(audit["passed"] for audit in audits)
    return f"{words}; {passed} of {len(audits)} audits passed" if audits else words


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


def _knobs(change: Change, empty: bool) -> str:
    overrides = change.idea.patch.overrides
    lines = []
    if change.written and not empty:
        shown = ", ".join(f"{key} = {overrides[key]!r}" for key in change.written)
        lines.append(
            paragraph("Defaults changed here", f"{shown} (arguments of the command line when measured)")
        )
    if change.left:
        shown = "; ".join(f"{key}={overrides[key]} ({why})" for key, why in change.left.items())
        lines.append(paragraph("To be set on the command line", shown))
    if empty:
        lines.append(paragraph("No file changes", "the finding is the value of a setting, given below"))
    return "\n".join(lines)


def _trust(store: Store, held: Held) -> str:
    """What the records say of the machine, the walls around the runs and the text."""
    print_ = held.campaign.fingerprint
    libraries = ", ".join(f"{name} {version}" for name, version in print_.libraries.items())
    words = f"paired runs, scored by the lab and not by the code under test; {print_.device}, "
    words += f"{print_.instruction_set}, corpus {print_.corpus}" + (f", {libraries}" if libraries else "")
    sandbox = (store.decision(held.campaign.id, "loop") or {}).get("sandbox")
    return f"{words}, sandbox: {sandbox['name']}" if sandbox else words


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
