"""Reads from other threads while the validation thread writes: no error, and never half an entry."""

import threading

from tests.support.pool import PoolLab


def test_readers_beside_the_writer_see_whole_entries() -> None:
    lab = PoolLab(blocks=200)
    pool = lab.pool
    stop = threading.Event()
    failures: list[BaseException] = []
    reads = 0

    def read() -> None:
        nonlocal reads
        try:
            while not stop.is_set():
                for entry in pool.entries():
                    assert entry.ancestor_size >= entry.vsize
                    assert entry.descendant_fees >= entry.fee
                    pool.descendants(entry.txid)
                    pool.spender(entry.tx.inputs[0].prevout)
                    pool.coin(entry.tx.outpoint(0))
                for txid in pool.txids():
                    pool.get(txid)
                pool.info()
                pool.smart_fee(6)
                pool.prioritised()
                reads += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(12):
            parent = lab.add(outputs=8)
            for vout in range(8):
                child = lab.add(parent.outpoint(vout), fee=2_000)
                lab.add(child.outpoint(0), fee=900)
            lab.add(parent.inputs[0].prevout, fee=100_000)
            lab.chain_of(5)
            lab.pool.prioritise(parent.txid, 5)
            if turn % 3 == 2:
                lab.mine()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert reads > 0
