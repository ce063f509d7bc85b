"""BIP 30 where nothing but BIP 30 forbids repeated transactions: a network with early maturity and no BIP 34."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from gldnode.errors import Reject
from gldnode.params import BTC_REGTEST, Deployments
from gldnode.primitives.tx import NULL_OUTPOINT, SEQUENCE_FINAL, OutPoint, Tx, TxIn, TxOut, make_tx
from tests.support.chain import ANYONE, RegtestChain, mine_block

_PARAMS = replace(BTC_REGTEST, coinbase_maturity=2, deployments=Deployments(bip34=10_000))
_VALUE = 1_000_000
_COINBASE = make_tx(
    1,
    [TxIn(NULL_OUTPOINT, b"the same every time", SEQUENCE_FINAL)],
    [TxOut(_VALUE, ANYONE), TxOut(_VALUE, ANYONE)],
)


def _spend(source: Tx, outputs: int = 1, *vouts: int) -> Tx:
    inputs = [TxIn(source.outpoint(vout), b"", SEQUENCE_FINAL) for vout in vouts]
    return make_tx(1, inputs, [TxOut(_VALUE // 2, ANYONE)] * outputs)


@pytest.fixture
def chain() -> Iterator[RegtestChain]:
    chain = RegtestChain(_PARAMS)
    chain.mine(2)
    yield chain
    chain.close()


Give = Callable[..., None]


@pytest.fixture
def give(chain: RegtestChain) -> Give:
    def give(*txs: Tx, coinbase: Tx | None = None) -> None:
        if coinbase is None:
            chain.mine(1, txs)
        else:
            chain.accept(mine_block(_PARAMS, chain.tip, txs, coinbase=coinbase))

    return give


def test_a_coinbase_may_come_again_when_it_is_spent(chain: RegtestChain, give: Give) -> None:
    give(coinbase=_COINBASE)
    give()
    with pytest.raises(Reject, match="bad-txns-BIP30"):
        give(coinbase=_COINBASE)
    give(_spend(_COINBASE, 1, 0))
    with pytest.raises(Reject, match="bad-txns-BIP30"):  # one output is still there
        give(coinbase=_COINBASE)
    give(_spend(_COINBASE, 1, 1))
    give(coinbase=_COINBASE)
    coin = chain.state.coin(OutPoint(_COINBASE.outpoint(0)))
    assert coin is not None
    assert coin.height == chain.height


def test_a_coinbase_may_not_come_again_in_the_block_that_spends_it(give: Give) -> None:
    give(coinbase=_COINBASE)
    give()
    with pytest.raises(Reject, match="bad-txns-BIP30"):  # the coins before the block are what counts
        give(_spend(_COINBASE, 1, 0, 1), coinbase=_COINBASE)


def test_a_payment_that_a_repeated_coinbase_makes_possible_again_is_refused(
    chain: RegtestChain, give: Give
) -> None:
    """All its inputs are there: only BIP 30 keeps its unspent output from being overwritten."""
    payment = _spend(_COINBASE, 1, 0, 1)
    give(coinbase=_COINBASE)
    give()
    give(payment)
    made_at = chain.height
    give(coinbase=_COINBASE)
    give()
    with pytest.raises(Reject, match="bad-txns-BIP30"):
        give(payment)
    coin = chain.state.coin(payment.outpoint(0))
    assert coin is not None
    assert coin.height == made_at
    # Once that output is spent the same payment may come again.
    give(_spend(payment, 1, 0))
    give(payment)


def test_undoing_a_repeated_coinbase_leaves_the_coins_as_they_were(chain: RegtestChain, give: Give) -> None:
    give(coinbase=_COINBASE)
    give()
    give(_spend(_COINBASE, 1, 0, 1))
    give(coinbase=_COINBASE)
    chain.state.invalidate(chain.tip.hash)
    assert chain.state.coin(_COINBASE.outpoint(0)) is None
    chain.state.invalidate(chain.tip.hash)
    coin = chain.state.coin(_COINBASE.outpoint(1))
    assert coin is not None
    assert coin.height == 3
