"""v3election: campaigns, proclamations, resignations, observers."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    ProclaimRequest,
    RangeRequest,
    ResignRequest,
    WatchCreateRequest,
)

TOPIC = Topic("election")
KEYS = RangeRequest(key=b"name/", range_end=b"name0")
LEADER = LeaderRequest(name=b"name")
OBSERVE_PATH = "/v3electionpb.Election/Observe"


def leases(script: Script) -> None:
    for lease_id in (1201, 1202, 1203):
        script.quiet(LeaseGrantRequest(ID=lease_id, TTL=3600), LeaseGrantResponse)


def elected(script: Script, value: bytes = b"first") -> CampaignResponse:
    leases(script)
    return script.answer(CampaignRequest(name=b"name", lease=1201, value=value), CampaignResponse)


TOPIC.table(
    {
        "no leader": LEADER,
        "no leader of an empty name": LeaderRequest(),
        "a campaign nobody contests": [CampaignRequest(name=b"name", lease=1201, value=b"v"), LEADER, KEYS],
        "a campaign again by the same lease": [
            CampaignRequest(name=b"name", lease=1201, value=b"v"),
            CampaignRequest(name=b"name", lease=1201, value=b"v"),
            CampaignRequest(name=b"name", lease=1201, value=b"w"),
            KEYS,
        ],
        "a campaign with a lease that is not there": [CampaignRequest(name=b"name", lease=999, value=b"v"), KEYS],
        "a proclamation without a leader": ProclaimRequest(value=b"v"),
        "a proclamation by a key that is not there": ProclaimRequest(
            leader=LeaderKey(name=b"name", key=b"name/none", rev=1, lease=1201), value=b"v"
        ),
        "a resignation without a leader": ResignRequest(),
        "a resignation by a key that is not there": ResignRequest(
            leader=LeaderKey(name=b"name", key=b"name/none", rev=1, lease=1201)
        ),
    },
    after=leases,
)


@TOPIC.case("a proclamation changes the value")
def proclaim(script: Script) -> None:
    leader = elected(script).leader
    script.calls(ProclaimRequest(leader=leader, value=b"second"), LEADER, KEYS)


@TOPIC.case("a proclamation after the resignation")
def proclaim_late(script: Script) -> None:
    leader = elected(script).leader
    script.calls(ResignRequest(leader=leader), ProclaimRequest(leader=leader, value=b"late"), LEADER, KEYS)


@TOPIC.case("a resignation twice")
def resign_twice(script: Script) -> None:
    leader = elected(script).leader
    script.calls(ResignRequest(leader=leader), ResignRequest(leader=leader), LEADER)


@TOPIC.case("a resignation with another creation revision leaves the leader")
def resign_other(script: Script) -> None:
    leader = elected(script).leader
    other = LeaderKey(name=leader.name, key=leader.key, rev=leader.rev - 1, lease=leader.lease)
    script.calls(ResignRequest(leader=other), LEADER)


@TOPIC.case("a campaign without a lease")
def no_lease(script: Script) -> None:
    answer = script.quiet(CampaignRequest(name=b"name", value=b"v"), CampaignResponse)
    script.hide(answer.leader.lease, "<chosen>")
    script.record("Campaign", script.reader.plain(answer))
    script.call(LEADER)


def succession(name: str, *, revoke: bool) -> None:
    @TOPIC.case(name)
    def run(script: Script) -> None:
        leader = elected(script).leader
        stream = script.watch()
        watcher = stream.create(WatchCreateRequest(key=b"name/", range_end=b"name0", start_revision=script.base + 2))
        pending = []
        for number, lease_id in enumerate((1202, 1203), 1):
            pending.append(script.background(CampaignRequest(name=b"name", lease=lease_id, value=b"%d" % lease_id)))
            stream.wait_events(watcher, number)
        script.record("nobody else leads", not any(campaign.finished() for campaign in pending))
        script.call(LEADER)
        script.call(LeaseRevokeRequest(ID=1201) if revoke else ResignRequest(leader=leader))
        second = pending[0].done(CampaignResponse).leader
        script.calls(LEADER, ResignRequest(leader=second))
        pending[1].done(CampaignResponse)
        script.calls(LEADER, KEYS)


succession("candidates lead in the order they came, by resignation", revoke=False)
succession("candidates lead in the order they came, by a revoked lease", revoke=True)


@TOPIC.case("an observer sees each leader and each proclamation")
def observe(script: Script) -> None:
    leader = elected(script).leader
    stream = script.subscribe(OBSERVE_PATH, LEADER, LeaderResponse)
    script.record("Observe", _kv(script, stream.next()))
    script.call(ProclaimRequest(leader=leader, value=b"second"))
    script.record("Observe", _kv(script, stream.next()))
    script.call(ResignRequest(leader=leader))
    script.call(CampaignRequest(name=b"name", lease=1202, value=b"next"))
    script.record("Observe", _kv(script, stream.next()))


@TOPIC.case("an observer that comes before the leader")
def observe_early(script: Script) -> None:
    leases(script)
    stream = script.subscribe(OBSERVE_PATH, LEADER, LeaderResponse)
    script.call(CampaignRequest(name=b"name", lease=1201, value=b"v"))
    script.record("Observe", _kv(script, stream.next()))


def _kv(script: Script, answer: object) -> dict[str, object]:
    """Leave the header out: its revision is where the store was when the observer's own watch looked."""
    assert isinstance(answer, LeaderResponse), f"the observation ended: {answer}"
    return {"kv": script.reader.plain(answer.kv)}
