"""Multi-version concurrency control: revisions of keys, reads at any, compaction, hashes, watch matching. sans-IO."""
