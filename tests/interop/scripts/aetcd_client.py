"""PyPI's aetcd against the endpoint in argv; exits 0 where everything is as it should be."""

from __future__ import annotations

import asyncio
import sys

import aetcd


async def main() -> None:
    host, port = sys.argv[1].split(":")
    async with aetcd.Client(host=host, port=int(port)) as client:
        await client.put(b"a", b"1")
        found = await client.get(b"a")
        assert (found.value, found.version) == (b"1", 1)

        watch = await client.watch(b"a")
        await client.put(b"a", b"2")
        async for event in watch:
            assert event.kv.value == b"2"
            break
        await watch.cancel()

        done, _ = await client.transaction(
            compare=[client.transactions.value(b"a") == b"2"],
            success=[client.transactions.put(b"b", b"x")],
            failure=[],
        )
        assert done
        await client.put(b"bc", b"y")
        assert [kv.key for kv in await client.get_prefix(b"b")] == [b"b", b"bc"]
        assert await client.delete(b"b")

        lease = await client.lease(60)
        await client.put(b"leased", b"x", lease=lease)
        assert await lease.remaining_ttl() > 50
        await lease.refresh()
        await lease.revoke()
        assert await client.get(b"leased") is None

        async with client.lock(b"lock", ttl=10) as lock:
            assert await lock.is_acquired()
        assert [member.name async for member in client.members()] == ["default"]
        assert (await client.status()).db_size > 0


asyncio.run(main())
