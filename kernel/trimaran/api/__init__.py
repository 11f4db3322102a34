"""The language: etcd v3's messages, methods and errors, and ranges of keys.

`messages` (message classes), `services` (every RPC), `errors` (status code and exact text), `keyrange`.
Imports nothing else of trimaran. Source: etcd 3.7, api/ and server/etcdserver/api/.
"""
