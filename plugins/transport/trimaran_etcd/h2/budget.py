"""Budgets: how much of something a peer may ask for before it counts as a flood.

Pure: the time is handed in. A budget is a token bucket: it fills with time and with useful work, up to its burst.
Source: CVE-2019-9512, -9514, -9515, -9518 (control frames), CVE-2023-44487 and CVE-2025-8671 (resets).
"""

from __future__ import annotations


class Budget:
    """A bucket of `burst` tokens that gains `per_s` each second. Floating-point: it only ever bounds a flood."""

    __slots__ = ("burst", "per_s", "tokens", "updated")

    def __init__(self, burst: int, per_s: float, now: float) -> None:
        self.burst = burst
        self.per_s = per_s
        self.tokens = float(burst)
        self.updated = now

    def take(self, now: float, refund: int = 0) -> bool:
        """Use one token, after adding what time and `refund` have earned. False where there is none left."""
        earned = (now - self.updated) * self.per_s + refund
        self.updated = now
        self.tokens = min(self.burst, self.tokens + earned) - 1
        return self.tokens >= 0
