"""Merkle root, witness commitment, size, weight: what the header says of the transactions, and how many fit."""

from collections.abc import Callable

from gldnode.primitives.block import make_block
from gldnode.primitives.tx import SEQUENCE_FINAL, Tx, TxIn, TxOut, make_tx, with_witnesses
from tests.consensus.adversary.steps import Spot
from tests.consensus.adversary.workshop import (
    ANYONE,
    COIN,
    Bench,
    accepted,
    case,
    commitment,
    merkle,
    rejected,
)

_VALUE = COIN // 10
_FUTURE_PROGRAM = b"\x60\x02\x01\x01"
"""Witness version 16: any witness will do."""


def _pairs(b: Bench, count: int) -> list[Tx]:
    return [b.pay(coin=n) for n in range(count)]


def _rearranged(spot: Spot, txs: list[Tx]) -> Spot:
    """The same header over other transactions."""
    return Spot(make_block(spot.block.header, txs), spot.height, spot.prev)


# -- merkle root --

rejected("merkle root of zeros", "bad-txnmrklroot", lambda b: b.block(root=bytes(32)))
rejected(
    "merkle root with one bit changed",
    "bad-txnmrklroot",
    lambda b: b.block(b.pay(), root=_flip(merkle([b.pay().txid]))),
)
rejected(
    "transactions in another order than the header's",
    "bad-txnmrklroot",
    lambda b: _swap(b.block(*_pairs(b, 3))),
)
rejected("a transaction left out", "bad-txnmrklroot", lambda b: _shorten(b.block(*_pairs(b, 2))))
rejected("no transactions at all", "bad-blk-length", lambda b: _rearranged(b.block(root=bytes(32)), []))


def _flip(data: bytes) -> bytes:
    return bytes((data[0] ^ 1,)) + data[1:]


def _swap(spot: Spot) -> Spot:
    first, a, *rest = spot.block.txs
    return _rearranged(spot, [first, rest[0], a, *rest[1:]])


def _shorten(spot: Spot) -> Spot:
    return _rearranged(spot, list(spot.block.txs[:-1]))


@case("CVE-2012-2459: the last of three repeated, then the true block")
def _repeat_last(b: Bench) -> None:
    true = b.block(*_pairs(b, 2))
    b.rejects(_rearranged(true, [*true.block.txs, true.block.txs[-1]]), "bad-txns-duplicate")
    b.accepts(true)


@case("CVE-2012-2459: the last two of six repeated, then the true block")
def _repeat_two(b: Bench) -> None:
    true = b.block(*_pairs(b, 5))
    b.rejects(_rearranged(true, [*true.block.txs, *true.block.txs[-2:]]), "bad-txns-duplicate")
    b.accepts(true)


@case("CVE-2012-2459: a repeated tail of a block that is known already")
def _repeat_known(b: Bench) -> None:
    true = b.block(*_pairs(b, 2))
    b.accepts(true)
    b.gives(_rearranged(true, [*true.block.txs, true.block.txs[-1]]), "bad-txns-duplicate")
    b.repeats(true)


rejected(
    "a transaction twice in a row that the header counts twice",
    "bad-txns-duplicate",
    lambda b: b.block(*_pairs(b, 2), b.pay(coin=1)),
)


@case("a wrong body, then the right one under the same header")
def _wrong_then_right(b: Bench) -> None:
    true = b.block(*_pairs(b, 2))
    b.rejects(_rearranged(true, [true.block.txs[0], b.pay(coin=7)]), "bad-txnmrklroot")
    b.accepts(true)


# -- transactions that look like something else --


@case("a transaction of 64 bytes")
def _sixty_four(b: Bench) -> None:
    script = b"\x51\x51\x51\x51"
    txin = TxIn(b.coins[0][0], b"", SEQUENCE_FINAL)
    tx = make_tx(2, [txin], [TxOut(_VALUE, script)])
    assert tx.base_size == 64
    b.accepts(b.block(tx))


rejected(
    "an inner node of the tree as transaction: 64 bytes and no coinbase",
    "bad-cb-missing",
    lambda b: b.block(first=make_tx(2, [TxIn(b.coins[0][0], b"", SEQUENCE_FINAL)], [TxOut(_VALUE, b"\x51" * 4)])),
)


# -- bytes that are no block --


@case("bytes that do not parse as a block")
def _bytes(b: Bench) -> None:
    raw = b.block(b.pay()).block.raw
    b.undecodable(raw[:-1])
    b.undecodable(raw + b"\x00")
    b.undecodable(raw[:79])
    b.undecodable(raw[:80])
    b.undecodable(raw[:80] + b"\xfd\x01\x00" + raw[81:])  # a count in more bytes than it needs
    b.undecodable(raw[:80] + b"\xff" * 9)
    b.undecodable(b.block(make_tx(2, [], [TxOut(1, ANYONE)])).block.raw)  # reads as a marker, no inputs
    b.undecodable(b"")
    b.accepts(b.block(b.pay()))


@case("a witness marker without a witness does not parse")
def _superfluous(b: Bench) -> None:
    spot = b.block()
    first = spot.block.txs[0].raw
    marked = first[:4] + b"\x00\x01" + first[4:-4] + b"\x00" + first[-4:]
    b.undecodable(spot.block.raw[:80] + b"\x01" + marked)
    b.undecodable(spot.block.raw[:80] + b"\x01" + first[:4] + b"\x00\x02" + first[4:])
    b.accepts(spot)


# -- witness commitment, BIP 141 --

Change = Callable[[Tx], Tx]


def _witness_block(b: Bench, change: Change = lambda tx: tx) -> Spot:
    """A spend with a witness, under a coinbase that was changed after it committed to it."""
    funding = b.make(_FUTURE_PROGRAM)
    tx = b.pay(coins=[b.out(funding)], witness=[b"anything"])
    first = b.coinbase(more=[commitment([funding, tx])], reserved=[bytes(32)])
    return b.block(funding, tx, first=change(first))


def _outputs(change: Callable[[list[TxOut]], list[TxOut]]) -> Change:
    def changed(tx: Tx) -> Tx:
        return make_tx(tx.version, tx.inputs, change(list(tx.outputs)), tx.lock_time)

    return changed


def _reserved(*stack: bytes) -> Change:
    return lambda tx: with_witnesses(tx, [stack])


accepted("a witness with its commitment", _witness_block)
rejected(
    "a witness without commitment",
    "unexpected-witness",
    lambda b: _witness_block(b, _outputs(lambda outputs: outputs[:1])),
)
rejected(
    "a commitment with one bit changed",
    "bad-witness-merkle-match",
    lambda b: _witness_block(b, _outputs(lambda o: [o[0], TxOut(0, o[1].script_pubkey[:6] + bytes(32))])),
)
rejected(
    "a commitment one byte too short is none",
    "unexpected-witness",
    lambda b: _witness_block(b, _outputs(lambda o: [o[0], TxOut(0, o[1].script_pubkey[:-1])])),
)
accepted(
    "a commitment may be followed by anything",
    lambda b: _witness_block(b, _outputs(lambda o: [o[0], TxOut(0, o[1].script_pubkey + b"more")])),
)
accepted(
    "of two commitments the last counts",
    lambda b: _witness_block(b, _outputs(lambda o: [o[0], TxOut(0, o[1].script_pubkey[:6] + bytes(32)), o[1]])),
)
rejected(
    "of two commitments the first does not count",
    "bad-witness-merkle-match",
    lambda b: _witness_block(b, _outputs(lambda o: [o[0], o[1], TxOut(0, o[1].script_pubkey[:6] + bytes(32))])),
)
rejected(
    "a reserved value of 31 bytes", "bad-witness-nonce-size", lambda b: _witness_block(b, _reserved(bytes(31)))
)
rejected(
    "a reserved value of 33 bytes", "bad-witness-nonce-size", lambda b: _witness_block(b, _reserved(bytes(33)))
)
rejected(
    "two reserved values", "bad-witness-nonce-size", lambda b: _witness_block(b, _reserved(bytes(32), bytes(32)))
)
rejected(
    "another reserved value",
    "bad-witness-merkle-match",
    lambda b: _witness_block(b, _reserved(b"\x01" + bytes(31))),
)
accepted("a commitment that nothing needs", lambda b: b.block(b.pay(), commit=True))
rejected(
    "a coinbase witness without commitment",
    "unexpected-witness",
    lambda b: b.block(first=b.coinbase(reserved=[bytes(32)])),
)
accepted(
    "another reserved value that the commitment knows",
    lambda b: b.block(
        b.pay(), first=b.coinbase(more=[commitment([b.pay()], b"\x07" * 32)], reserved=[b"\x07" * 32])
    ),
)
rejected(
    "a commitment to the witnesses in another order",
    "bad-witness-merkle-match",
    lambda b: b.block(
        b.pay(coin=1),
        b.pay(coin=2),
        first=b.coinbase(more=[commitment([b.pay(coin=2), b.pay(coin=1)])], reserved=[bytes(32)]),
    ),
)


@case("a miner's commitment without the reserved value is completed")
def _completed(b: Bench) -> None:
    bare = b.block(b.pay(), first=b.coinbase(more=[commitment([b.pay()])]))
    b.accepts(bare)


@case("a stripped witness, then the block as it was mined")
def _stripped(b: Bench) -> None:
    true = _witness_block(b)
    txs = list(true.block.txs)
    stripped = with_witnesses(txs[2], [()])
    b.rejects(_rearranged(true, [*txs[:2], stripped]), "bad-witness-merkle-match")
    b.accepts(true)


@case("a bloated witness, then the block as it was mined")
def _bloated(b: Bench) -> None:
    true = _witness_block(b)
    txs = list(true.block.txs)
    bloated = with_witnesses(txs[2], [[b"anything", bytes(3_999_000)]])
    b.rejects(_rearranged(true, [*txs[:2], bloated]), "bad-witness-merkle-match")
    b.accepts(true)


rejected("a witness below segwit", "unexpected-witness", _witness_block, at=118)
accepted("the same witness at segwit", _witness_block, at=119)
accepted(
    "a commitment below segwit is only an output",
    lambda b: b.block(first=b.coinbase(more=[TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))])),
    at=118,
)
rejected(
    "the same output at segwit is a wrong commitment",
    "bad-witness-merkle-match",
    lambda b: b.block(
        first=b.coinbase(more=[TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))], reserved=[bytes(32)])
    ),
    at=119,
)


# -- size and weight --


def _padded(b: Bench, size: int) -> Spot:
    """A block of exactly `size` bytes without witness."""
    first = b.coinbase()
    bare = b.pay(TxOut(_VALUE, b""))
    room = size - 81 - first.base_size - bare.base_size - 4  # the length of the script takes four bytes more
    tx = b.pay(TxOut(_VALUE, b"\x6a" + bytes(room - 1)))
    spot = b.block(tx, first=first)
    assert spot.block.base_size == size
    return spot


def _weighing(b: Bench, weight: int) -> Spot:
    """A block of exactly that weight, nearly all of it witness."""
    funding = b.make(_FUTURE_PROGRAM)
    size = 0
    for _ in range(3):
        tx = b.pay(coins=[b.out(funding)], witness=[bytes(size)])
        spot = b.block(
            funding, tx, first=b.coinbase(extra=b"", more=[commitment([funding, tx])], reserved=[bytes(32)])
        )
        if spot.block.weight == weight:
            return spot
        size += weight - spot.block.weight
    raise AssertionError(spot.block.weight)


accepted("exactly a million bytes", lambda b: _padded(b, 1_000_000))
rejected("a million bytes and one", "bad-blk-length", lambda b: _padded(b, 1_000_001))
accepted("exactly four million units of weight", lambda b: _weighing(b, 4_000_000))
rejected("four million units of weight and one", "bad-blk-weight", lambda b: _weighing(b, 4_000_001))
rejected(
    "too large, and with a negative output: the size comes first",
    "bad-blk-length",
    lambda b: b.block(b.pay(TxOut(-1, bytes(1_000_000)))),
)
rejected(
    "too heavy and not committed to: the commitment comes first",
    "bad-witness-merkle-match",
    lambda b: _heavy_and_wrong(b),
)


def _heavy_and_wrong(b: Bench) -> Spot:
    funding = b.make(_FUTURE_PROGRAM)
    tx = b.pay(coins=[b.out(funding)], witness=[bytes(4_000_000)])
    wrong = TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))
    return b.block(funding, tx, first=b.coinbase(more=[wrong], reserved=[bytes(32)]))


accepted(
    "OP_RETURN with 900,000 bytes",
    lambda b: b.block(
        b.pay(TxOut(0, b"\x6a\x4e" + (900_000).to_bytes(4, "little") + bytes(900_000))), fees=_VALUE
    ),
)
accepted("a thousand transactions", lambda b: b.block(*_chain(b, 1_000)))


def _chain(b: Bench, length: int) -> list[Tx]:
    txs = [b.pay()]
    while len(txs) < length:
        txs.append(b.pay(coins=[b.out(txs[-1])]))
    return txs
