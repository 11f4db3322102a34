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


DIVERGENCES: tuple[Divergence, ...] = ()

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
