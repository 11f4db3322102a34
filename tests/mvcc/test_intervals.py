"""IntervalMap and WatcherIndex against a plain list."""

from __future__ import annotations

import random

import pytest

from tests.mvcc.model import within
from trimaran.mvcc.intervals import IntervalMap, _height, _Node
from trimaran.mvcc.matching import Sink, Watcher, WatcherIndex


def depth_checked(node: _Node[int] | None) -> int:
    """Recompute heights and end_max below a node, and check them."""
    if node is None:
        return 0
    left, right = depth_checked(node.left), depth_checked(node.right)
    assert abs(left - right) <= 1
    assert node.height == 1 + max(left, right) == _height(node)
    assert node.end_max == max([node.end] + [child.end_max for child in (node.left, node.right) if child])
    return node.height


@pytest.mark.parametrize("seed", range(8))
def test_stab_finds_what_a_scan_finds_while_intervals_come_and_go(seed: int) -> None:
    rng = random.Random(seed)
    tree: IntervalMap[int] = IntervalMap()
    present: dict[tuple[bytes, bytes], int] = {}
    for n in range(400):
        if present and rng.random() < 0.4:
            bounds = rng.choice(list(present))
            del present[bounds]
            tree.remove(*bounds)
        else:
            bounds = (rng.randbytes(rng.randint(1, 2)), rng.randbytes(rng.randint(1, 2)))
            if bounds not in present:
                present[bounds] = n
                tree.add(*bounds, n)
        key = rng.randbytes(rng.randint(1, 2))
        assert sorted(tree.stab(key)) == sorted(v for (start, end), v in present.items() if start <= key < end)
        assert len(tree) == len(present)
    depth_checked(tree._root)


def test_intervals_added_in_order_stay_balanced() -> None:
    """Clients choose the intervals; a degenerate tree would be theirs to make."""
    tree: IntervalMap[int] = IntervalMap()
    for n in range(2_000):
        tree.add(b"%05d" % n, b"%05d" % (n + 1), n)
    assert depth_checked(tree._root) <= 1.45 * 11
    assert tree.stab(b"01234x") == [1234]
    for n in range(1_999):
        tree.remove(b"%05d" % n, b"%05d" % (n + 1))
    assert tree.stab(b"01999") == [1999]


def test_removing_an_absent_interval_is_an_error() -> None:
    with pytest.raises(KeyError):
        IntervalMap[int]().remove(b"a", b"b")


def test_match_finds_single_keys_ranges_and_open_ends() -> None:
    rng = random.Random(3)
    index = WatcherIndex()
    sink: Sink | None = None
    watchers: list[Watcher] = []
    keys = [b"a", b"ab", b"b", b"b\0", b"c", b"d"]
    for n in range(300):
        if watchers and rng.random() < 0.4:
            index.leave(watchers.pop(rng.randrange(len(watchers))))
        else:
            end = rng.choice([b"", b"\0", *keys])
            watcher = Watcher(
                n,
                rng.choice(keys),
                end,
                0,
                want_prev_kv=False,
                no_put=False,
                no_delete=False,
                sink=sink,  # type: ignore[arg-type]
            )
            index.join(watcher)
            watchers.append(watcher)
        for key in keys:
            found = [watcher.id for group in index.match(key) for watcher in group.others]
            assert sorted(found) == sorted(w.id for w in watchers if within(key, w.key, w.range_end))
    for watcher in watchers:
        index.leave(watcher)
    assert len(index) == 0
    assert index.match(b"b") == []
