"""Random schedules against the invariants of Raft. A failing run is replayed by its seed: `pytest -k 'seed17-'`."""

from __future__ import annotations

import pytest

from tests.raft.network import Chaos

#: Enough of each mix of options to meet the rare paths; a longer hunt is `CHAOS_SEEDS`-free: raise the numbers here.
SEEDS = 240
STEPS = 1200


@pytest.mark.parametrize("seed", range(SEEDS), ids="seed{}-".format)
def test_invariants_hold_under_faults_and_the_cluster_recovers_when_they_end(seed: int) -> None:
    """Paper figure 3: the five properties; thesis 6.4: reads; 10.2.1: what is committed is durable on a quorum."""
    chaos = Chaos(seed)
    chaos.run(STEPS)
    chaos.recover()
