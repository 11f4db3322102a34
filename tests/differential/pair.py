"""Two servers that are asked the same: the reference (real etcd) and trimaran.

Owns: bringing both to the same start before a case (no keys, leases or alarms, one revision), running a case on both at
the same time, and the comparison. A case that fails leaves the next one a clean start, so one difference is one failure.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from tests.differential.cases import Case
from tests.differential.plain import FIELDS_SINCE_3_6, Reader, differences
from tests.differential.script import CaseError, Entry, Script
from tests.differential.wire import Link, Refusal
from trimaran.api.messages import (
    AlarmRequest,
    AlarmResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    PutRequest,
    PutResponse,
    StatusRequest,
    StatusResponse,
)

M = TypeVar("M", bound=Message)
ALIGN_KEY = b"align"


@dataclass
class Pair:
    reference: Link
    trimaran: Link

    def __post_init__(self) -> None:
        version = _ask(self.reference, StatusRequest(), StatusResponse).version
        major, minor = version.split(".")[:2]
        self.reference_version = (int(major), int(minor))

    @property
    def omitted(self) -> frozenset[str]:
        return FIELDS_SINCE_3_6 if self.reference_version < (3, 6) else frozenset()

    def both(self) -> tuple[Link, Link]:
        return self.reference, self.trimaran

    def align(self) -> int:
        """Empty both stores and bring them to the same revision; returns it."""
        revisions = [_ask(link, PutRequest(key=ALIGN_KEY), PutResponse).header.revision for link in self.both()]
        for link, revision in zip(self.both(), revisions, strict=True):
            for _ in range(max(revisions) - revision):
                _ask(link, PutRequest(key=ALIGN_KEY), PutResponse)
        bases = [_empty(link) for link in self.both()]
        assert bases[0] == bases[1], f"the servers could not be brought to one revision: {bases}"
        return bases[0]

    def run(self, case: Case) -> tuple[list[Entry], list[Entry]]:
        """Run a case on both servers; returns the reference's transcript and trimaran's."""
        base = self.align()
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(self._transcript, case, link, base) for link in self.both()]
            reference, trimaran = (run.result() for run in runs)
        return reference, trimaran

    def run_trimaran(self, case: Case) -> list[Entry]:
        """Run a case on trimaran alone; its answers have every field of the newest API."""
        return self._transcript(case, self.trimaran, self.align(), frozenset())

    def _transcript(self, case: Case, link: Link, base: int, omitted: frozenset[str] | None = None) -> list[Entry]:
        script = Script(link, base, Reader(base, self.omitted if omitted is None else omitted))
        try:
            case.run(script)
        except (CaseError, TimeoutError) as stopped:
            script.record("the case stopped", str(stopped))
        finally:
            script.close()
        return script.transcript


def compare(reference: list[Entry], trimaran: list[Entry]) -> list[str]:
    """Return a line for each difference."""
    expected = {entry.label: entry.value for entry in reference}
    actual = {entry.label: entry.value for entry in trimaran}
    lines: list[str] = []
    for label in dict.fromkeys([*expected, *actual]):
        if label not in actual:
            lines.append(f"{label}: not in trimaran's transcript; expected {expected[label]!r}")
        elif label not in expected:
            lines.append(f"{label}: only in trimaran's transcript: {actual[label]!r}")
        else:
            lines += [f"{label}: {line}" for line in differences(expected[label], actual[label])]
    return lines


def _ask(link: Link, request: Message, response: type[M]) -> M:
    answer = link.call(request)
    if isinstance(answer, Refusal):
        raise CaseError(f"{type(request).__name__} was refused between cases: {answer}")
    assert isinstance(answer, response)
    return answer


def _empty(link: Link) -> int:
    alarms = _ask(link, AlarmRequest(), AlarmResponse).alarms
    for alarm in alarms:
        off = AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm)
        _ask(link, off, AlarmResponse)
    emptied = _ask(link, DeleteRangeRequest(key=b"\0", range_end=b"\0"), DeleteRangeResponse)
    for lease in _ask(link, LeaseLeasesRequest(), LeaseLeasesResponse).leases:
        _ask(link, LeaseRevokeRequest(ID=lease.ID), LeaseRevokeResponse)
    return emptied.header.revision
