"""What one core is told about itself and its limits. Fixed for the core's life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """Times are in ticks; the owner decides how long one is.

    Attributes:
        id: this member; not 0.
        election_ticks: without a word from a leader for this long up to nearly twice as long, a voter campaigns.
        heartbeat_ticks: how often a leader sends heartbeats; below election_ticks.
        pre_vote: ask whether an election could be won before starting one, so that a member that was cut off does
            not depose a healthy leader on its return (thesis 9.6).
        check_quorum: a leader that hears from no quorum for election_ticks steps down, and a member that has heard
            from its leader within election_ticks ignores candidates (thesis 6.2).
        append_bytes_max: payload bytes of one append; a single larger entry still travels alone.
        inflight_messages_max: appends sent to one member ahead of their answers.
        inflight_bytes_max: payload bytes of those; 0 is no limit.
        uncommitted_bytes_max: payload bytes a leader may have appended and not yet committed; 0 is no limit.
        apply_entries_max: entries one Ready hands out for applying, so that whoever applies them can yield between.
        step_down_on_removal: a leader that is removed, or made a learner, leads no more once it applies that.
    """

    id: int
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    append_bytes_max: int = 1 << 20
    inflight_messages_max: int = 256
    inflight_bytes_max: int = 64 << 20
    uncommitted_bytes_max: int = 0
    apply_entries_max: int = 4096
    step_down_on_removal: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for a combination no core can work with."""
        if not 0 < self.id < 1 << 64:
            raise ValueError(f"member id {self.id} is not within 1 and 2**64 - 1")
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError(
                f"heartbeat_ticks {self.heartbeat_ticks} must be above 0 and below election_ticks {self.election_ticks}"
            )
        if self.inflight_messages_max < 1 or self.apply_entries_max < 1:
            raise ValueError("inflight_messages_max and apply_entries_max must be at least 1")
        for name in ("append_bytes_max", "inflight_bytes_max", "uncommitted_bytes_max"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
