"""With a node of another make, btcd: each syncs from the other, transactions and reorganisations cross over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.btcd import Btcd, free_port, require_btcd
from tests.support.daemon import DaemonProcess
from tests.support.waiting import wait_for

COUNT = 520
"""More than the 500 of one `inv`: btcd must be led on."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, Btcd]]:
    """Our node with a chain, and a btcd that dials it."""
    require_btcd()
    port = free_port()
    folder = tmp_path_factory.mktemp("btcd")
    flags = ("-listen=1", f"-bind=127.0.0.1:{port}", "-nopayments", "-debug=net", "-fallbackfee=0.0002")
    with DaemonProcess(folder / "ours", *flags, network="btc-regtest") as ours:
        ours.call("createwallet", "w")
        address = ours.call("getnewaddress")
        ours.call("generatetoaddress", COUNT, address)
        with Btcd(folder / "theirs", f"--connect=127.0.0.1:{port}", f"--miningaddr={address}") as theirs:
            yield ours, theirs


def same_tip(ours: DaemonProcess, theirs: Btcd) -> bool:
    return bool(ours.call("getbestblockhash") == theirs.call("getbestblockhash"))


def test_btcd_syncs_from_us_by_the_old_way(pair: tuple[DaemonProcess, Btcd]) -> None:
    ours, theirs = pair
    wait_for(lambda: same_tip(ours, theirs), "btcd has our chain", 120)
    assert theirs.call("getblockcount") == COUNT


def test_we_sync_from_btcd(pair: tuple[DaemonProcess, Btcd], tmp_path: Path) -> None:
    ours, theirs = pair
    wait_for(lambda: same_tip(ours, theirs), "btcd has our chain", 120)
    flags = (f"-connect=127.0.0.1:{theirs.p2p_port}", "-nopayments")
    with DaemonProcess(tmp_path / "third", *flags, network="btc-regtest") as third:
        wait_for(lambda: same_tip(third, theirs), "we have btcd's chain", 120)
        assert third.call("getblockcount") >= COUNT
        (peer,) = third.call("getpeerinfo")
        assert "btcd" in peer["subver"]


def test_a_transaction_sent_on_either_side_is_mined_on_the_other(pair: tuple[DaemonProcess, Btcd]) -> None:
    ours, theirs = pair
    wait_for(lambda: same_tip(ours, theirs), "same tip", 120)
    txid = ours.call("sendtoaddress", ours.call("getnewaddress"), 1)
    wait_for(lambda: txid in theirs.call("getrawmempool"), "btcd has our transaction")
    (mined,) = theirs.call("generate", 1)
    wait_for(lambda: same_tip(ours, theirs), "we have btcd's block")
    assert txid in ours.call("getblock", mined)["tx"]
    assert ours.call("gettransaction", txid)["confirmations"] == 1

    coin = next(one for one in ours.call("listunspent") if one["confirmations"] > 110)
    spent = [{"txid": coin["txid"], "vout": coin["vout"]}]
    raw = ours.call("createrawtransaction", spent, {ours.call("getnewaddress"): float(coin["amount"]) - 0.001})
    signed = ours.call("signrawtransactionwithwallet", raw)["hex"]
    txid = theirs.call("sendrawtransaction", signed)
    wait_for(lambda: txid in ours.call("getrawmempool"), "we have btcd's transaction")
    (mined,) = ours.call("generatetoaddress", 1, ours.call("getnewaddress"))
    wait_for(lambda: same_tip(ours, theirs), "btcd has our block")
    assert txid in theirs.call("getblock", mined)["tx"]


@pytest.mark.parametrize(("ours_mines", "theirs_mines"), [(2, 5), (5, 2)])
def test_a_reorganisation_on_either_side_is_followed_by_the_other(
    pair: tuple[DaemonProcess, Btcd], ours_mines: int, theirs_mines: int
) -> None:
    ours, theirs = pair
    wait_for(lambda: same_tip(ours, theirs), "same tip", 120)
    ours.call("setnetworkactive", False)
    ours.call("generatetoaddress", ours_mines, ours.call("getnewaddress"))
    theirs.call("generate", theirs_mines)
    better = ours if ours_mines > theirs_mines else theirs
    best = better.call("getbestblockhash")
    ours.call("setnetworkactive", True)
    ours.call("addnode", f"127.0.0.1:{theirs.p2p_port}", "onetry")
    wait_for(lambda: ours.call("getbestblockhash") == theirs.call("getbestblockhash") == best, "one chain", 120)
