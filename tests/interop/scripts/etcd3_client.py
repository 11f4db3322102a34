"""PyPI's etcd3 against the endpoint in argv; exits 0 where everything is as it should be."""

from __future__ import annotations

import sys
import threading

import etcd3

host, port = sys.argv[1].split(":")
client = etcd3.client(host=host, port=int(port))

client.put("a", "1")
value, metadata = client.get("a")
assert (value, metadata.version) == (b"1", 1)

events, cancel = client.watch("a")
threading.Timer(0.1, lambda: client.put("a", "2")).start()
event = next(events)
assert (event.value, event.version) == (b"2", 2)
cancel()

succeeded, responses = client.transaction(
    compare=[client.transactions.value("a") == "2", client.transactions.version("b") == 0],
    success=[client.transactions.put("b", "x"), client.transactions.get("a")],
    failure=[],
)
assert succeeded
assert responses[1][0][0] == b"2"
assert client.put_if_not_exists("b", "y") is False
assert client.replace("b", "x", "z") is True

for n in range(3):
    client.put(f"p/{n}", str(n))
assert [value for value, _ in client.get_prefix("p/", sort_order="descend")] == [b"2", b"1", b"0"]
assert client.delete_prefix("p/").deleted == 3

lease = client.lease(60)
client.put("leased", "x", lease=lease)
assert lease.granted_ttl == 60
assert lease.keys == [b"leased"]
assert lease.refresh()[0].TTL == 60
lease.revoke()
assert client.get("leased") == (None, None)

with client.lock("lock", ttl=10) as lock:
    assert lock.is_acquired()

assert [member.name for member in client.members] == ["default"]
assert client.status().leader.name == "default"
assert client.hash() > 0
client.compact(3)
client.defragment()
assert list(client.list_alarms()) == []
with open(sys.argv[2], "wb") as file:
    client.snapshot(file)
client.close()
