"""Where etcd 3.4 and 3.7 answer differently. Trimaran follows 3.7, so 3.4 is not asked in these cases.

`answers.txt` holds what an etcd of 3.7 or later answered in each of them (`python -m tests.differential.record` makes it
again); trimaran is compared with that. Where an answer depends on the revision the case happened to begin at (a hash),
there is nothing to write down: those cases are compared only where TRIMARAN_REFERENCE_ETCD names a newer etcd.
docs/compatibility.md shows this table; a test holds the two together.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.differential.plain import Plain

ANSWERS_PATH = Path(__file__).parent / "answers.txt"
#: The version whose answers are followed.
FOLLOWED = (3, 7)


@dataclass(frozen=True)
class Divergence:
    """`prefix` is how the names of the cases begin. `recorded` False: see the module."""

    prefix: str
    reason: str
    recorded: bool = True


DIVERGENCES: tuple[Divergence, ...] = (
    Divergence("range: keys only", "a Range of keys only is answered from the index, which knows no leases (3.7)"),
    Divergence("range: limit with keys only", "a Range of keys only is answered from the index (3.7)"),
    Divergence("range: an unknown sort order", "unknown sort orders and targets are refused (3.5); 3.4 panics at some"),
    Divergence("range: a negative sort order", "unknown sort orders and targets are refused (3.5)"),
    # Not written down for its size alone.
    Divergence("range: streamed, two thousand keys", "RangeStream came with 3.7", recorded=False),
    Divergence("range: streamed", "RangeStream came with 3.7"),
    Divergence(
        "compact: hashes at every revision",
        "HashKV at a compaction's own revision is answered, with the hash taken before it (3.6); 3.4 refuses",
        recorded=False,
    ),
    Divergence("watch: a start revision below zero", "a negative start revision is refused (3.5)"),
    Divergence(
        "watch: from the compacted revision",
        "a deletion at the compaction revision is still delivered (3.5, 3.6: etcd issues 18089 and 19179)",
    ),
    Divergence("maintenance: no alarms", "an Alarm answer has a header (3.5)"),
    Divergence("maintenance: a list of alarms", "an Alarm answer has a header (3.5)"),
    Divergence("maintenance: an alarm", "an Alarm answer has a header (3.5); 3.4 panics at an alarm of no known type"),
    Divergence(
        "maintenance: no space",
        "an Alarm answer has a header (3.5); NOSPACE also refuses puts of nested Txns (etcd 22139)",
    ),
    Divergence("maintenance: corrupt", "an Alarm answer has a header (3.5)"),
    Divergence("maintenance: a downgrade", "Downgrade came with 3.5"),
    Divergence("maintenance: an unknown downgrade action", "Downgrade came with 3.5"),
    Divergence(
        "lock: a waiter whose lease is revoked",
        "a waiter whose lease has ended does not get the lock (3.5; Jepsen 2020)",
    ),
    Divergence(
        "error: a wrong wire type", "a known field of another wire type is passed over as unknown (3.7's protobuf)"
    ),
    Divergence("error: a token without auth", "a token is not looked at while auth is off (3.5)"),
)

#: Cases of RPCs that this version does not serve, by how their names begin. They must answer UNIMPLEMENTED.
NOT_SERVED: tuple[str, ...] = (
    "maintenance: an unknown member is",
    "maintenance: a member with",
    "maintenance: the only member is promoted",
)


def divergence_of(case: str) -> Divergence | None:
    return next((row for row in DIVERGENCES if case.startswith(row.prefix)), None)


def recorded_answers() -> dict[str, Mapping[str, Plain]]:
    """{case: {label: what the newer etcd answered}}."""
    answers: dict[str, Mapping[str, Plain]] = {}
    for line in ANSWERS_PATH.read_text().splitlines():
        case, transcript = ast.literal_eval(line)
        answers[case] = transcript
    return answers
