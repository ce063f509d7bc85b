"""What tests ask a daemon again and again."""

from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, RpcFailure

__all__ = ["coinbase_of", "failure"]


def failure(node: DaemonProcess, method: str, *params: Any) -> tuple[int, str]:
    """Code and text of the error that the call must end in."""
    with pytest.raises(RpcFailure) as caught:
        node.call(method, *params)
    return caught.value.code, caught.value.message


def coinbase_of(node: DaemonProcess, height: int) -> str:
    """Id of the coinbase transaction of the active chain's block at `height`."""
    txid = node.call("getblock", node.call("getblockhash", height))["tx"][0]
    assert isinstance(txid, str)
    return txid
