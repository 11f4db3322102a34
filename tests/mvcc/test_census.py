"""Census: what it forgets it says."""

from __future__ import annotations

import random

from trimaran.mvcc.census import Census


def test_gains_since_a_revision_are_births_less_deaths_in_the_range() -> None:
    census = Census(since=10)
    for main, key, birth in ((11, b"a", True), (12, b"b", True), (12, b"a", False), (13, b"a", True)):
        census.record(main, key, birth=birth)
    assert census.gained(b"a", None, 10) == 2
    assert census.gained(b"a", b"b", 12) == 1
    assert census.gained(b"a", b"b", 11) == 0
    assert census.gained(b"a", None, 13) == 0
    assert census.since_count(11) == 3
    census.undo(13)
    assert census.gained(b"a", None, 10) == 1


def test_forgetting_raises_since_to_where_the_record_is_complete_again() -> None:
    rng = random.Random(1)
    census = Census(entries_kept=8)
    live: dict[int, set[bytes]] = {0: set()}
    for main in range(1, 200):
        now = set(live[main - 1])
        for key in rng.sample([b"a", b"b", b"c", b"d"], rng.randint(1, 3)):
            census.record(main, key, birth=key not in now)
            now ^= {key}
        live[main] = now
        assert main - census.since <= 16
        for revision in range(census.since, main + 1):
            assert len(now) - census.gained(b"", None, revision) == len(live[revision])
