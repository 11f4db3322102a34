"""Every case of the catalogue, on real etcd and on trimaran, answer by answer.

TRIMARAN_REFERENCE_ETCD names another etcd program to compare with. TRIMARAN_DIFFERENTIAL_SELF, the path of an etcd, puts
that one in the place of trimaran, which tests the catalogue itself: that its answers are determined by its requests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.cases import Case
from tests.differential.catalogue import CASES
from tests.differential.divergences import BY_CASE, DIVERGENCES
from tests.differential.pair import Pair, compare
from tests.differential.side import running_pair
from tests.differential.wire import Refusal
from trimaran.api.messages import AlarmRequest, RangeRequest, RequestOp, TxnRequest


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("catalogue")) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trimaran_answers_as_etcd_does(pair: Pair, case: Case) -> None:
    """Reference: etcd itself; DIVERGENCES where 3.7 changed what 3.4 answers."""
    divergence = BY_CASE.get(case.name)
    reference, trimaran = pair.run(case)
    assert reference, f"{case.name} records nothing, so it compares nothing"
    if divergence is not None:
        diverges = bool(compare(reference, reference, divergence))
        assert diverges == (pair.reference_version < (3, 7)), (
            f"the reference, etcd {pair.reference_version}, answers {reference}: the row of DIVERGENCES is wrong or stale"
        )
    lines = compare(reference, trimaran, divergence)
    assert not lines, "\n".join(["the answers differ:", *lines])


#: Requests that end etcd's process: 3.4.23 panics at the first two, 3.8.0-alpha.0 at the last.
DEADLY = {
    "an unknown sort target": RangeRequest(key=b"\0", range_end=b"\0", sort_target=9),
    "an unknown sort target in a transaction": TxnRequest(
        success=[RequestOp(request_range=RangeRequest(key=b"\0", range_end=b"\0", sort_target=9))]
    ),
    "an unknown alarm action": AlarmRequest(action=9),
}


@pytest.mark.parametrize("name", DEADLY)
def test_trimaran_survives_what_kills_etcd(pair: Pair, name: str) -> None:
    pair.trimaran.call(DEADLY[name])
    assert not isinstance(pair.trimaran.call(RangeRequest(key=b"k")), Refusal)


def test_every_divergence_names_a_case() -> None:
    """A row whose case was renamed would assert nothing."""
    assert {divergence.case for divergence in DIVERGENCES} <= {case.name for case in CASES}


def test_the_catalogue_is_as_large_as_the_docs_say() -> None:
    """docs/compatibility.md promises 250 cases or more."""
    assert len(CASES) >= 250
