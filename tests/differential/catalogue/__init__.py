"""All cases, by topic. A module holds one topic; the order is the order they run in."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.catalogue import (
    compaction,
    delete,
    election,
    errors,
    leases,
    limits,
    locks,
    maintenance,
    put,
    ranges,
    txn,
    txn_compare,
    watch,
)

TOPICS: tuple[Topic, ...] = (
    ranges.TOPIC,
    put.TOPIC,
    delete.TOPIC,
    txn.TOPIC,
    txn_compare.TOPIC,
    compaction.TOPIC,
    leases.TOPIC,
    watch.TOPIC,
    maintenance.TOPIC,
    locks.TOPIC,
    election.TOPIC,
    errors.TOPIC,
    limits.TOPIC,
)
CASES = tuple(case for topic in TOPICS for case in topic.cases)
