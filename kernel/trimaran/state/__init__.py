"""The replicated state machine: log entries in, changed store and outcomes out. sans-IO, deterministic.

`machine` applies; `checks`, `cost` and `leases.prepare_grant` are what a proposer does before the log; `kv` and `txn`
answer reads too.
"""
