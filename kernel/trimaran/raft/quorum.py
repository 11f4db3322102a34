"""Majorities, simple and joint: what is committed, and who has won a vote.

Pure functions over sorted tuples of voter ids. A joint configuration decides as both of its halves do.
An empty half has no say; a configuration with no voters at all commits nothing and elects nobody.
Source: Raft paper 5.3, 5.4.1, 6; etcd-io/raft quorum (behaviour).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from trimaran.raft.types import ConfState


class VoteResult(Enum):
    PENDING = 0
    WON = 1
    LOST = 2


def majority(count: int) -> int:
    """The smallest number of voters, out of `count`, of which any two such groups share one."""
    return count // 2 + 1


def majority_acked(voters: tuple[int, ...], acked: Callable[[int], int]) -> int:
    """The highest number that a majority of `voters` (not empty) has acknowledged; `acked(id)` is 0 for nothing."""
    if len(voters) == 1:
        return acked(voters[0])
    numbers = sorted([acked(voter) for voter in voters])
    return numbers[len(numbers) - majority(len(numbers))]


def conf_acked(conf: ConfState, acked: Callable[[int], int]) -> int:
    """The highest number acknowledged by a quorum of `conf`: in a joint configuration, by a majority of each half."""
    if not conf.voters:
        return 0
    number = majority_acked(conf.voters, acked)
    if conf.voters_outgoing:
        return min(number, majority_acked(conf.voters_outgoing, acked))
    return number


def majority_vote(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteResult:
    """The outcome among `voters` (not empty); votes of others do not count."""
    needed = majority(len(voters))
    granted = sum(votes.get(voter) is True for voter in voters)
    if granted >= needed:
        return VoteResult.WON
    missing = sum(voter not in votes for voter in voters)
    return VoteResult.PENDING if granted + missing >= needed else VoteResult.LOST


def conf_vote(conf: ConfState, votes: Mapping[int, bool]) -> VoteResult:
    """The outcome under `conf`: lost where either half is lost, won where both are won."""
    if not conf.voters:
        return VoteResult.LOST
    result = majority_vote(conf.voters, votes)
    if not conf.voters_outgoing:
        return result
    other = majority_vote(conf.voters_outgoing, votes)
    if VoteResult.LOST in (result, other):
        return VoteResult.LOST
    return VoteResult.WON if result is other is VoteResult.WON else VoteResult.PENDING


def conf_active(conf: ConfState, active: Mapping[int, bool]) -> bool:
    """Whether the members marked active form a quorum of `conf`."""
    return conf_vote(conf, {voter: active.get(voter, False) for voter in conf.members()}) is VoteResult.WON
