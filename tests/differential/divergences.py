"""Where the reference (etcd 3.4) and trimaran, which follows etcd 3.7, answer differently on purpose.

`answers` holds what etcd 3.7 answers, by the transcript's labels; it stands in place of 3.4's answer, so each row is
asserted against trimaran. A row is also asserted to be needed: where 3.4 gives the very answer, the row must go.
With TRIMARAN_REFERENCE_ETCD set to an etcd of 3.7 or later the rows are asserted against that etcd as well.
docs/compatibility.md shows this table; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.differential.plain import Plain
from tests.differential.script import refused


@dataclass(frozen=True)
class Divergence:
    case: str
    reason: str
    source: str
    answers: Mapping[str, Plain]


DIVERGENCES: tuple[Divergence, ...] = ()
BY_CASE = {divergence.case: divergence for divergence in DIVERGENCES}
assert len(BY_CASE) == len(DIVERGENCES), "one row a case"
_ = refused
