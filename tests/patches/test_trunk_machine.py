"""Adopt, supersede and remove in any order: the trunk is always what its list says, and nothing else.

The ideas change numbered lines and quote their neighbours, so exact replays, merges and conflicts all
occur. A plain model (line number -> new text) says what the tree must be.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mendel.patches import Built, Stale, adopt, build, remove
from mendel.records import Idea, Trunk

from .trees import base_trunk, edit, idea

LINES = 8
BASE = {path: "".join(f"v{k} = {k}\n" for k in range(LINES)) for path in ("a.py", "b.py")}


@st.composite
def ideas(draw) -> Idea:
    """Changes one or two lines of a file, quoting up to three neighbours on each side, or a knob, or both."""
    name = draw(st.sampled_from([f"idea{k}" for k in range(20)]))
    slot = draw(st.sampled_from([None, None, "red", "blue"]))
    knobs = draw(st.dictionaries(st.sampled_from(["lr", "warmup"]), st.integers(0, 1), max_size=1))
    edits = []
    if not knobs or draw(st.booleans()):
        path = draw(st.sampled_from(sorted(BASE)))
        low = draw(st.integers(0, LINES - 2))
        high = low + draw(st.integers(1, 2))
        before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        quoted = BASE[path].splitlines(keepends=True)
        head, tail = "".join(quoted[max(0, low - before) : low]), "".join(quoted[high : high + after])
        new = "".join(f"v{k} = {name!r}\n" for k in range(low, high))
        edits = [edit(head + "".join(quoted[low:high]) + tail, head + new + tail, path)]
    return idea(name, *edits, slot=slot, **knobs)


def changes(one: Idea) -> dict[tuple[str, int], str]:
    """(file, line) -> text that the idea puts there."""
    found = {}
    for each in one.patch.edits:
        for line in each.replace.splitlines(keepends=True):
            if repr(one.name) in line:
                found[each.path, int(line[1 : line.index(" ")])] = line
    return found


def near(one: Idea, other: Idea) -> bool:
    """Whether two ideas change the same or touching lines, or set one key to different values."""
    keys = one.patch.overrides.keys() & other.patch.overrides.keys()
    lines = {(path, line + d) for path, line in changes(one) for d in (-1, 0, 1)}
    return bool(lines & changes(other).keys()) or any(
        one.patch.overrides[key] != other.patch.overrides[key] for key in keys
    )


def expected(trunk: Trunk) -> dict[str, str]:
    lines = {(path, k): f"v{k} = {k}\n" for path in BASE for k in range(LINES)}
    for held in trunk.adopted:
        lines |= changes(held)
    return {path: "".join(lines[path, k] for k in range(LINES)) for path in BASE}


class TrunkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = base_trunk(BASE)

    def built(self) -> Built:
        return build(self.trunk, BASE, tuple(BASE))

    @rule(one=ideas())
    def adopt_one(self, one: Idea) -> None:
        if one.name in [held.name for held in self.trunk.adopted]:
            return
        before, tried = self.built(), adopt(self.trunk, one)
        try:
            after = build(tried, BASE, tuple(BASE))
        except Stale as error:
            assert repr(one.name) in str(error)
            rest = tried.adopted[:-1]
            equal = all(
                one.patch.overrides[key] == before.recipe.overrides.get(key) for key in one.patch.overrides
            )
            assert any(near(one, held) for held in rest) or (not one.patch.edits and equal)
            assert self.built() == before
            return
        if len(tried.adopted) == len(self.trunk.adopted) + 1:  # superseded nothing
            assert build(remove(tried, one.name), BASE, tuple(BASE)) == before
            assert after != before
        self.trunk = tried

    @precondition(lambda self: self.trunk.adopted)
    @rule(data=st.data())
    def remove_one(self, data: st.DataObject) -> None:
        names = [held.name for held in self.trunk.adopted]
        name = data.draw(st.sampled_from(names))
        self.trunk = remove(self.trunk, name)
        assert [held.name for held in self.trunk.adopted] == [other for other in names if other != name]

    @invariant()
    def the_tree_and_overrides_are_those_of_the_list(self) -> None:
        result = self.built()
        assert result.tree == expected(self.trunk)
        knobs: dict[str, object] = {}
        for held in self.trunk.adopted:
            knobs |= held.patch.overrides
        assert result.recipe.overrides == knobs

    @invariant()
    def a_slot_has_one_holder(self) -> None:
        slots = [held.patch.slot for held in self.trunk.adopted if held.patch.slot]
        assert len(slots) == len(set(slots))

    def teardown(self) -> None:
        while self.trunk.adopted:
            self.trunk = remove(self.trunk, self.trunk.adopted[0].name)
        assert self.built() == (base_trunk(BASE).base, BASE, ())


TestTrunkMachine = TrunkMachine.TestCase
TestTrunkMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
