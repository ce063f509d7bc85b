"""bitcoinrpc (bibajz's, on httpx) at the node of arguments url, user, password; what it saw as JSON on stdout."""

import asyncio
import json
import sys

from bitcoinrpc import BitcoinRPC, RPCError


async def main(url: str, user: str, password: str) -> None:
    async with BitcoinRPC.from_config(url, (user, password)) as rpc:
        best = await rpc.getbestblockhash()
        answer = {
            "height": await rpc.getblockcount(),
            "chain": (await rpc.getblockchaininfo())["chain"],
            "connections": await rpc.getconnectioncount(),
            "header": (await rpc.getblockheader(best))["hash"],
            "difficulty": await rpc.getdifficulty(),
            "tips": await rpc.getchaintips(),
        }
        try:
            await rpc.getblockhash(10_000_000)
        except RPCError as error:
            answer["too_high"] = error.error
    print(json.dumps(answer))


asyncio.run(main(*sys.argv[1:]))
