"""python-bitcoinrpc (jgarzik's AuthServiceProxy) at the node of argument one; what it saw as JSON on stdout."""

import json
import sys
from decimal import Decimal

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException


def error_of(call, *arguments) -> dict:
    try:
        call(*arguments)
    except JSONRPCException as error:
        return error.error
    raise AssertionError("no error")


proxy = AuthServiceProxy(sys.argv[1])
best = proxy.getbestblockhash()
block = proxy.getblock(best, 2)
reward = block["tx"][0]["vout"][0]["value"]
address = proxy.getnewaddress()
answer = {
    "height": proxy.getblockcount(),
    "hash": block["hash"],
    "reward": str(reward),
    "is_decimal": isinstance(reward, Decimal),
    "sent": proxy.sendtoaddress(address, Decimal("0.10000001")),
    "received": str(proxy.getreceivedbyaddress(address, 0)),
    "too_high": error_of(proxy.getblockhash, 10_000_000),
    "unknown": error_of(proxy.nosuchmethod),
}
print(json.dumps(answer))
