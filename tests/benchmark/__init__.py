"""The benchmark command: etcd and trimaran in turns, on one machine, in one run. `python -m tests.benchmark`."""
