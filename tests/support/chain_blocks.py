"""Ready-made chains of blocks for a daemon, and files of them."""

from collections.abc import Sequence
from pathlib import Path

from gldnode.chain.utxostats import HashKind
from gldnode.params import REGTEST
from gldnode.primitives.block import Block
from gldnode.primitives.tx import TxOut
from tests.support.chain import ANYONE, Key, RegtestChain, spend

__all__ = ["ready_chain", "write_block_file"]


def ready_chain(count: int, *, spends: bool = True) -> tuple[list[Block], str]:
    """`count` blocks and the hash of the coin set behind them.

    With `spends` each block from height 102 on spends a coinbase with a signature.
    """
    chain = RegtestChain()
    key = Key()
    maturity = chain.params.coinbase_maturity
    blocks = chain.mine(min(count, maturity + 1) if spends else count, script=key.script)
    while len(blocks) < count:
        coinbase = blocks[len(blocks) - maturity - 1].txs[0]
        coin = coinbase.outputs[0]
        outputs = [TxOut(coin.amount // 2, key.script), TxOut(1, ANYONE)]
        blocks += chain.mine(1, [spend([(coinbase.outpoint(0), coin)], outputs, key)], script=key.script)
    found = chain.state.coin_stats(HashKind.HASH_SERIALIZED_3).hash
    assert found is not None
    chain.close()
    return blocks, found[::-1].hex()


def write_block_file(path: Path, blocks: Sequence[Block]) -> Path:
    """In the framing of blk files."""
    path.write_bytes(
        b"".join(REGTEST.message_start + len(block.raw).to_bytes(4, "little") + block.raw for block in blocks)
    )
    return path
