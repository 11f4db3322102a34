"""Starting a member: from what the stores hold (or from nothing, the first time) to a member ready for its first turn."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import trio

from trimaran.hooks.frontend import Logger
from trimaran.hooks.storage import LogContents, StorageCorruptError, StorageForeignError
from trimaran.member.member import Member, Randomness
from trimaran.raft import Config, HardState, Raft
from trimaran.runtime.config import NodeConfig
from trimaran.runtime.stores import Stores
from trimaran.state.machine import Machine
from trimaran.state.membership import cluster_id, initial_members

#: Loading says how far it is after this many records.
_PROGRESS_RECORDS = 250_000


async def start_member(config: NodeConfig, stores: Stores, random: Randomness, log: Logger) -> Member:
    """Load or bootstrap. Raises StorageError for stores that hold another member, or do not fit each other."""
    contents = await stores.log_worker.run(stores.log.load)
    machine = await _load_machine(stores, log)
    peer_urls: dict[str, Sequence[str]] = {name: tuple(urls) for name, urls in config.initial_peer_urls().items()}
    initial = initial_members(peer_urls, config.initial_cluster_token)
    if machine.members.cluster_id == 0:
        _check_empty(contents)
        machine.bootstrap(initial, cluster_id(member.id for member in initial))
        batch = machine.take_batch()
        await stores.state_worker.run(lambda: _bootstrap(stores, batch))
        machine.store.committed(batch)
        log.info("bootstrapped", cluster_id=f"{machine.members.cluster_id:x}", members=len(initial))
    own_id = next(member.id for member in initial if member.name == config.name)
    if own_id not in machine.members:
        raise StorageForeignError(
            f"{config.data_dir} belongs to another member of cluster {machine.members.cluster_id:x}: start with the "
            "--name, --initial-cluster and --initial-cluster-token it was created with, or give another --data-dir"
        )
    _check_contents(contents, machine)
    try:
        raft = Raft(
            Config(id=own_id, election_ticks=config.election_ticks, pre_vote=config.pre_vote),
            hard_state=contents.hard_state,
            log_start=(contents.start_index, contents.start_term),
            entries=contents.entries,
            conf=machine.conf_state,
            applied=machine.applied_index,
            random=random,
        )
    except ValueError as error:
        raise StorageCorruptError(f"the log in {config.data_dir} contradicts itself: {error}") from error
    member = Member(config.member(), raft, machine, random=random, now=trio.current_time())
    member.measured(*await stores.state_worker.run(stores.state.size))
    if raft.sole_voter:
        raft.campaign()  # nobody else could be leading: why wait for an election time-out
    # A million keys are a million live objects: without this the collector walks all of them, again and again.
    gc.collect()
    gc.freeze()
    return member


async def _load_machine(stores: Stores, log: Logger) -> Machine:
    machine = Machine(stores.state)
    reported = 0
    for records in machine.load_slices():
        if records - reported >= _PROGRESS_RECORDS:
            reported = records
            log.info("loading", records=records)
        await trio.lowlevel.checkpoint()
    return machine


def _bootstrap(stores: Stores, batch: object) -> None:
    stores.state.commit(batch)  # type: ignore[arg-type]
    stores.state.sync()


def _check_empty(contents: LogContents) -> None:
    if contents.entries or contents.start_index or contents.hard_state != HardState():
        raise StorageForeignError(
            "the log has entries and the state store is empty: its file was removed or another was put in its place. "
            "Restore the state file that goes with the log, or move the whole data directory away to start afresh"
        )


def _check_contents(contents: LogContents, machine: Machine) -> None:
    """The log must reach from what the state has applied without a gap; a state ahead of its log was not written by it."""
    last = contents.start_index + len(contents.entries)
    if machine.applied_index < contents.start_index or machine.applied_index > last:
        raise StorageForeignError(
            f"the state store has applied entry {machine.applied_index}, and the log holds {contents.start_index + 1} "
            f"to {last}: the two do not belong together. Put back the files of one and the same data directory"
        )
