"""Every case of the catalogue, on real etcd and on trimaran, answer by answer.

TRIMARAN_REFERENCE_ETCD names another etcd program to compare with. TRIMARAN_DIFFERENTIAL_SELF, the path of an etcd, puts
that one in the place of trimaran, which tests the catalogue itself: that its answers are determined by its requests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.cases import Case
from tests.differential.catalogue import CASES
from tests.differential.divergences import DIVERGENCES, FOLLOWED, NOT_SERVED, divergence_of, recorded_answers
from tests.differential.pair import Pair, compare
from tests.differential.script import Entry
from tests.differential.side import running_pair
from tests.differential.wire import Refusal
from trimaran.api.messages import AlarmRequest, RangeRequest, RequestOp, TxnRequest

RECORDED = recorded_answers()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("catalogue")) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trimaran_answers_as_etcd_does(pair: Pair, case: Case) -> None:
    """Reference: etcd itself; the answers recorded of a newer one where 3.7 changed what 3.4 answers."""
    divergence = divergence_of(case.name)
    if case.name.startswith(NOT_SERVED):
        transcript = pair.run_trimaran(case)
        assert {entry.value["refused"] for entry in transcript if isinstance(entry.value, dict)} == {"UNIMPLEMENTED"}
        return
    if divergence is None or pair.reference_version >= FOLLOWED:
        reference, trimaran = pair.run(case)
        assert reference, f"{case.name} records nothing, so it compares nothing"
    elif divergence.recorded:
        reference = [Entry(label, value) for label, value in RECORDED[case.name].items()]
        trimaran = pair.run_trimaran(case)
    else:
        pytest.skip("etcd 3.4 has no such answer; TRIMARAN_REFERENCE_ETCD=PATH of a newer etcd compares it")
    lines = compare(reference, trimaran)
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


def test_every_divergence_is_of_a_case() -> None:
    """A row whose cases were renamed would say nothing."""
    names = [case.name for case in CASES]
    for prefix in [*(row.prefix for row in DIVERGENCES), *NOT_SERVED]:
        assert any(name.startswith(prefix) for name in names), prefix
    assert RECORDED.keys() <= set(names)


def test_the_catalogue_is_as_large_as_the_docs_say() -> None:
    """docs/compatibility.md promises 250 cases or more."""
    assert len(CASES) >= 250
