"""The second peer of the lane bench: asyncio streams, json and a dict, as most services of this kind are written.

`python bench/lane_streams.py ITEMS SOCKET...`
"""

from __future__ import annotations

import asyncio
import json
import sys

from bench.lane_shop import gtin, price_minor, sku


async def main(items: int, sockets: list[str]) -> None:
    goods = {
        gtin(number): {"item_id": sku(number), "name": f"Item {number}", "price_minor": price_minor(number, 1)} for number in range(items)
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": goods.get(request["params"].get("code"))}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    servers = [await asyncio.start_unix_server(serve, socket) for socket in sockets]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
