"""A daemon that is killed (kill -9) while it connects blocks: what it has acknowledged is there afterwards."""

import http.client
import json
import random
import threading
import time
from pathlib import Path

from gldnode.primitives.block import Block
from tests.support.campaign import campaign, campaign_seed
from tests.support.chain import RegtestChain
from tests.support.chain_blocks import ready_chain
from tests.support.daemon import DaemonProcess

_AT_ONCE = 5
_FLAGS = ("-nopayments", "-disablewallet", "-addressindex=0", "-checklevel=4", "-checkblocks=30", "-dbcache=4")


class Feeder(threading.Thread):
    """Submits blocks in order until the daemon is gone."""

    def __init__(self, daemon: DaemonProcess, blocks: list[Block], first: int) -> None:
        super().__init__(name="feeder")
        self._daemon, self._blocks = daemon, blocks
        self.acknowledged = first
        """Blocks that were answered for."""

    def run(self) -> None:
        try:
            while self.acknowledged < len(self._blocks):
                some = self._blocks[self.acknowledged : self.acknowledged + _AT_ONCE]
                calls = [{"id": 0, "method": "submitblock", "params": [block.raw.hex()]} for block in some]
                _, _, data = self._daemon.request(json.dumps(calls))
                results = [reply["result"] for reply in json.loads(data)]
                assert results == [None] * len(some), results
                self.acknowledged += len(some)
        except (OSError, http.client.HTTPException):
            return


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    dice = random.Random(campaign_seed("kill -9 of a daemon that connects blocks"))
    rounds = campaign(10, 50)
    blocks, expected = ready_chain(rounds * 60)
    daemon = DaemonProcess(tmp_path, *_FLAGS)
    height = 0
    for _ in range(rounds):
        with daemon:
            found = daemon.call("getblockcount")
            assert height <= found <= height + _AT_ONCE
            assert daemon.call("getbestblockhash") == _hash_at(blocks, found)
            feeder = Feeder(daemon, blocks, found)
            feeder.start()
            time.sleep(dice.random() * 0.4)
            daemon.kill()
            feeder.join(30)
            height = feeder.acknowledged
    with daemon:
        assert daemon.call("getblockcount") >= height
        feeder = Feeder(daemon, blocks, daemon.call("getblockcount"))
        feeder.run()
        assert daemon.call("getbestblockhash") == blocks[-1].hash[::-1].hex()
        assert daemon.call("gettxoutsetinfo")["hash_serialized_3"] == expected
        assert daemon.call("verifychain", 4, 0) is True
        assert daemon.stop() == 0


def _hash_at(blocks: list[Block], height: int) -> str:
    found = blocks[height - 1].hash if height else RegtestChain().params.genesis.hash
    return found[::-1].hex()
