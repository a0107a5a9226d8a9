"""What a stream asks: everything that counts, and what will be compared at one place of two frames."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.yardstick.questions import BATCH, make_frames, make_rows, with_repeats


def plan(count, length, beside=0, width=2):
    rng = np.random.default_rng(count)
    windows = rng.integers(0, 256, (count, length + 1), dtype=np.uint8)
    groups = {"beside": rng.integers(0, 256, (beside, min(width, length + 1)), dtype=np.uint8)}
    rows = make_rows(windows, groups if beside else {}, windows, None)
    return windows, rows, make_frames(rows, windows, None)


@given(st.integers(1, 150), st.integers(1, 40), st.integers(0, 20), st.integers(2, 41))
@settings(max_examples=80, deadline=None)
def test_all_rows_are_asked_in_frames_of_one_shape(count, length, beside, width):
    windows, rows, frames = plan(count, length, beside, width)
    asked = Counter(row for frame in frames for row in frame)
    assert set(rows) <= set(asked)
    assert {len(frame) for frame in frames} == {min(BATCH, count)}
    assert {len(row.tokens) for row in asked} == {length + 1}
    for i, row in enumerate(rows[:count]):
        assert (row.tokens == windows[i]).all() and (row.window, row.cut, row.size) == (i, 0, length + 1)
    assert all(asked[row] == 1 for row in rows[count:]) and all(row.size >= 2 for row in rows)


@given(st.integers(1, 150), st.integers(2, 40))
@settings(max_examples=80, deadline=None)
def test_twins_and_windows_that_come_again_stand_in_one_column_of_different_frames(count, length):
    windows, _, frames = plan(count, length)
    places = {}
    for number, frame in enumerate(frames):
        for column, row in enumerate(frame):
            places.setdefault(row.window, []).append((number, column, row))
    twins = again = 0
    for window, found in places.items():
        assert len({column for _, column, _ in found}) == 1
        assert len({number for number, _, _ in found}) == len(found)
        for _, _, row in found:
            if row.cut:
                twins += 1
                assert 2 <= row.cut <= length
                assert (row.tokens[: row.cut] == windows[window][: row.cut]).all()
                assert len(set(windows[window])) == 1 or row.tokens[row.cut] != windows[window][row.cut]
        again += sum(not row.cut for _, _, row in found) - 1
    assert twins >= min(BATCH, count) and again >= min(BATCH, count)


def test_an_audit_adds_a_quarter_and_its_order_is_new_each_time():
    orders = set()
    for _ in range(5):
        _, _, frames = plan(128, 64)
        asked, repeats = with_repeats(frames)
        assert len(asked) * BATCH == 160
        assert len(repeats) == 3 and repeats[0][0] < len(asked) // 2
        for first, again in repeats:
            assert asked[first] is asked[again] and first < again
        assert 0 in [first for first, _ in repeats], "nothing was learned before the first frame"
        orders.add(tuple(row.window for frame in asked for row in frame))
    assert len(orders) == 5
