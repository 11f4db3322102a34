"""The runtime: a member in production, between its stores, its frontends and the clock. The only code that awaits."""
