"""What operators ask of the mempool, of scripts and of peers beyond the daily methods."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from hashlib import sha256

import pytest

from tests.support.daemon import DaemonProcess, RpcFailure
from tests.support.rpc_calls import coinbase_of, failure

ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
KEY = "cTpB4YiyKiBcPxnefsDpbnDxFDffjqJob8wGCEDXxgQ7zQoMXJdH"
ANYONE = "raw(51)"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    base = tmp_path_factory.mktemp("operators")
    flags = (
        "-acceptnonstdtxn=1",
        "-blockfilterindex",
        "-txindex",
        "-addressindex",
        "-listen=1",
        "-bind=127.0.0.1:0",
    )
    process = DaemonProcess(base, *flags, network="btc-regtest").start()
    try:
        process.call("generatetodescriptor", 106, ANYONE)
        yield process
    finally:
        process.stop()


def spend(node: DaemonProcess, txid: str, pays: str, *outputs: str) -> str:
    """Send a spend of output 0, which anyone may spend, to `outputs` in equal parts of `pays` coins."""
    parts = [{one: str(Decimal(pays) / len(outputs))} for one in outputs]
    raw = node.call("createrawtransaction", [{"txid": txid, "vout": 0}], parts)
    sent = node.call("sendrawtransaction", raw, 0)
    assert isinstance(sent, str)
    return sent


def test_a_cluster_its_chunks_and_the_diagram_of_the_pool(node: DaemonProcess) -> None:
    anyone = node.call("decodescript", "51")["segwit"]["address"]
    parent = spend(node, coinbase_of(node, 1), "49.99999", anyone)
    raw = node.call("createrawtransaction", [{"txid": parent, "vout": 0}], [{ADDRESS: "49.99"}])
    raw = raw[:8] + "0001" + raw[8:-8] + "010151" + raw[-8:]  # the witness: the script itself
    child = node.call("sendrawtransaction", raw, 0)
    alone = spend(node, coinbase_of(node, 2), "49.9999", ADDRESS)

    cluster = node.call("getmempoolcluster", parent)
    assert cluster == node.call("getmempoolcluster", child)
    (chunk,) = cluster["chunks"]
    entries = [node.call("getmempoolentry", one) for one in (parent, child)]
    assert chunk["txs"] == [parent, child]
    assert chunk["chunkfee"] == sum(one["fees"]["base"] for one in entries)
    assert chunk["chunkweight"] == cluster["clusterweight"] == sum(one["weight"] for one in entries)
    assert cluster["txcount"] == 2
    assert {one["fees"]["chunk"] for one in entries} == {chunk["chunkfee"]}
    assert {one["chunkweight"] for one in entries} == {chunk["chunkweight"]}

    diagram = node.call("getmempoolfeeratediagram")
    weight = node.call("getmempoolentry", alone)["weight"]
    assert diagram[0] == {"weight": 0, "fee": 0}
    assert diagram[1] == {"weight": chunk["chunkweight"], "fee": chunk["chunkfee"]}
    assert diagram[2] == {"weight": chunk["chunkweight"] + weight, "fee": node.call("getmempoolinfo")["total_fee"]}
    assert failure(node, "getmempoolcluster", "00" * 32) == (-5, "Transaction not in mempool")
    node.call("generatetodescriptor", 1, ANYONE)
    assert node.call("getmempoolfeeratediagram") == [{"weight": 0, "fee": 0}]


def test_a_raw_estimate_shows_every_memory_that_reaches_so_far(node: DaemonProcess) -> None:
    found = node.call("estimaterawfee", 6, 0.9)
    assert set(found) == {"short", "medium", "long"}
    assert (found["short"]["decay"], found["short"]["scale"]) == (Decimal("0.962"), 1)
    assert found["short"]["errors"] == ["Insufficient data or no feerate found which meets threshold"]
    assert set(found["short"]["fail"]) == {
        *("startrange", "endrange", "withintarget", "totalconfirmed", "inmempool", "leftmempool")
    }
    assert set(node.call("estimaterawfee", 1008)) == {"long"}
    assert failure(node, "estimaterawfee", 6, 1.5) == (-8, "Invalid threshold")
    assert failure(node, "estimaterawfee", 0)[0] == -8


def test_activity_of_descriptors_in_blocks_and_in_the_pool(node: DaemonProcess) -> None:
    to = f"addr({ADDRESS})"
    first = spend(node, coinbase_of(node, 3), "49.999", ADDRESS)
    block = node.call("generatetodescriptor", 1, ANYONE)[0]
    height = node.call("getblockcount")
    second = spend(node, coinbase_of(node, 4), "49.998", ADDRESS)
    relevant = node.call("scanblocks", "start", [to], height)["relevant_blocks"]
    assert relevant == [block]

    found = node.call("getdescriptoractivity", relevant, [to])["activity"]
    assert [(one["type"], one["txid"], one.get("height")) for one in found] == [
        ("receive", first, height),
        ("receive", second, None),
    ]
    assert found[0]["output_spk"]["address"] == ADDRESS
    assert (found[0]["amount"], found[0]["vout"], found[0]["blockhash"]) == (Decimal("49.999"), 0, block)
    spent = node.call("getdescriptoractivity", [block], [ANYONE], False)["activity"]
    assert [one["type"] for one in spent] == ["receive", "spend"]  # the block's own reward comes first
    assert (spent[1]["prevout_txid"], spent[1]["prevout_vout"]) == (coinbase_of(node, 3), 0)
    assert (spent[1]["spend_txid"], spent[1]["spend_vin"], spent[1]["prevout_spk"]["hex"]) == (first, 0, "51")

    assert failure(node, "getdescriptoractivity", ["00" * 32], [to]) == (-5, "Block not found")
    node.call("invalidateblock", block)
    assert failure(node, "getdescriptoractivity", [block], [to]) == (-8, "Block is not in main chain")
    node.call("reconsiderblock", block)
    assert node.call("getdescriptoractivity", [], [to], False) == {"activity": []}


def test_descriptors_update_and_sign_a_psbt_without_a_wallet(node: DaemonProcess) -> None:
    wpkh = node.call("getdescriptorinfo", f"wpkh({KEY})")["descriptor"]
    address = node.call("deriveaddresses", wpkh)[0]
    funding = spend(node, coinbase_of(node, 5), "49.99", address)
    psbt = node.call("createpsbt", [{"txid": funding, "vout": 0}], [{address: "49.98"}])

    updated = node.call("decodepsbt", node.call("utxoupdatepsbt", psbt, [wpkh]))
    assert updated["inputs"][0]["witness_utxo"]["amount"] == Decimal("49.99")
    assert len(updated["inputs"][0]["bip32_derivs"]) == len(updated["outputs"][0]["bip32_derivs"]) == 1

    watching = node.call("descriptorprocesspsbt", psbt, [wpkh])
    assert watching["complete"] is False
    assert "hex" not in watching
    done = node.call("descriptorprocesspsbt", psbt, [{"desc": f"wpkh({KEY})"}], "ALL", False)
    assert done["complete"] is True
    assert "bip32_derivs" not in node.call("decodepsbt", done["psbt"])["inputs"][0]
    unfinished = node.call("descriptorprocesspsbt", psbt, [f"wpkh({KEY})"], "ALL", True, False)
    assert len(node.call("decodepsbt", unfinished["psbt"])["inputs"][0]["partial_signatures"]) == 1
    assert node.call("sendrawtransaction", done["hex"]) in node.call("getrawmempool")
    assert failure(node, "descriptorprocesspsbt", "zz", [wpkh])[0] == -22
    assert failure(node, "descriptorprocesspsbt", psbt, ["nonsense"])[0] == -5
    assert failure(node, "descriptorprocesspsbt", psbt, [wpkh], "odd")[0] == -8


def test_orphans_and_known_addresses_may_be_looked_at(node: DaemonProcess) -> None:
    assert node.call("getorphantxs") == node.call("getorphantxs", 2) == []
    assert failure(node, "getorphantxs", 3) == (-8, "Invalid verbosity value 3")
    assert failure(node, "getorphantxs", True)[0] == -3
    assert node.call("addpeeraddress", "1.2.3.4", 8333, True) == {"success": True}
    assert node.call("addpeeraddress", "2.3.4.5", 8333) == {"success": True}
    tables = node.call("getrawaddrman")
    (tried,), (new,) = tables["tried"].values(), tables["new"].values()
    assert (tried["address"], tried["port"], tried["network"]) == ("1.2.3.4", 8333, "ipv4")
    assert (new["address"], new["source"], new["source_network"]) == ("2.3.4.5", "2.3.4.5", "ipv4")
    assert all(part.isdigit() for part in next(iter(tables["new"])).split("/"))
    assert failure(node, "sendmsgtopeer", 99, "ping", "00") == (-1, "Error: Could not send message to peer")
    assert failure(node, "sendmsgtopeer", 99, "thirteenchars", "")[1].endswith("max length is 12")
    assert failure(node, "sendmsgtopeer", 99, "ping", "zz") == (-8, "Error parsing input for msg")


def test_a_snapshot_of_the_coins_is_as_of_the_tip_or_of_an_earlier_block(node: DaemonProcess) -> None:
    before = node.call("gettxoutsetinfo")
    spend(node, coinbase_of(node, 6), "49.99", ADDRESS)
    node.call("generatetodescriptor", 2, ANYONE)
    now = node.call("gettxoutsetinfo")
    latest = node.call("dumptxoutset", "latest.dat", "latest")
    assert latest["path"] == str(node.folder / "latest.dat")
    assert (latest["txoutset_hash"], latest["coins_written"]) == (now["hash_serialized_3"], now["txouts"])
    assert (latest["base_hash"], latest["base_height"]) == (now["bestblock"], now["height"])
    assert latest["nchaintx"] == node.call("getchaintxstats")["txcount"]
    assert (node.folder / "latest.dat").read_bytes()[:7] == b"utxo\xff\x02\x00"
    earlier = node.call("dumptxoutset", "earlier.dat", "rollback", {"rollback": before["height"]})
    assert (earlier["txoutset_hash"], earlier["base_hash"]) == (before["hash_serialized_3"], before["bestblock"])
    named = node.cli("-named", "dumptxoutset", "named.dat", f"rollback={before['bestblock']}")
    assert before["hash_serialized_3"] in named.stdout
    assert sorted(path.name for path in node.folder.glob("*.dat*")) == ["earlier.dat", "latest.dat", "named.dat"]

    assert "already exists" in failure(node, "dumptxoutset", "latest.dat", "latest")[1]
    assert "for writing" in failure(node, "dumptxoutset", "no/where.dat", "latest")[1]
    assert failure(node, "dumptxoutset", "x.dat")[1].startswith('Invalid snapshot type "" specified')
    assert failure(node, "dumptxoutset", "x.dat", "latest", {"rollback": 5})[0] == -8
    assert failure(node, "dumptxoutset", "x.dat", "rollback")[1].startswith("Target block height 299 after")
    code, message = failure(node, "loadtxoutset", "latest.dat")
    assert code == -32603
    assert f"(hash: {now['bestblock']}). The following snapshot heights are available: 110, 200, 299" in message
    missing = failure(node, "loadtxoutset", "missing.dat")
    assert missing == (-8, f"Couldn't open file {node.folder / 'missing.dat'} for reading.")
    (node.folder / "junk.dat").write_bytes(b"junk" * 20)
    assert failure(node, "loadtxoutset", "junk.dat")[0] == -22


@pytest.mark.parametrize("name", ["nul\0", "long" * 100, ""])
def test_no_name_of_a_snapshot_is_an_internal_error(node: DaemonProcess, name: str) -> None:
    assert failure(node, "dumptxoutset", name, "latest")[0] == -8
    assert failure(node, "loadtxoutset", name)[0] == -8


def test_of_several_snapshots_of_one_name_one_is_written(node: DaemonProcess) -> None:
    def dump(number: int) -> str:
        try:
            return str(node.call("dumptxoutset", "same.dat", "latest")["txoutset_hash"])
        except RpcFailure as refused:
            return refused.message

    with ThreadPoolExecutor(6) as callers:
        told = set(callers.map(dump, range(6)))
    told.remove(node.call("gettxoutsetinfo")["hash_serialized_3"])
    assert all("already exists" in one or one == "Another snapshot is being written" for one in told)
    assert [path.name for path in node.folder.glob("same*")] == ["same.dat"]


def test_what_addresses_received_and_spent_confirmed_or_not(node: DaemonProcess) -> None:
    key = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"
    address = "mjTkW3DjgyZck4KbiRusZsqTgaYTxdSz6z"
    coinbase = coinbase_of(node, 7)
    first = spend(node, coinbase, "49.9", address, ADDRESS)
    asked = {"addresses": [address]}
    assert node.call("getaddressbalance", asked) == {"balance": 0, "received": 0}
    (pending,) = node.call("getaddressmempool", asked)
    assert {name: pending[name] for name in ("txid", "index", "satoshis", "address")} == {
        "txid": first,
        "index": 0,
        "satoshis": 2_495_000_000,
        "address": address,
    }
    node.call("generatetodescriptor", 1, ANYONE)
    height = node.call("getblockcount")
    assert node.call("getaddressbalance", address) == {"balance": 2_495_000_000, "received": 2_495_000_000}
    (coin,) = node.call("getaddressutxos", asked)
    assert (coin["txid"], coin["outputIndex"], coin["satoshis"], coin["height"]) == (
        first,
        0,
        2_495_000_000,
        height,
    )
    assert coin["script"] == node.call("validateaddress", address)["scriptPubKey"]
    assert node.call("getaddressutxos", asked | {"chainInfo": True})["height"] == height

    raw = node.call("createrawtransaction", [{"txid": first, "vout": 0}], [{address: "24.9"}])
    signed = node.call("signrawtransactionwithkey", raw, [key])["hex"]
    second = node.call("sendrawtransaction", signed, 0)
    changes = [(one["satoshis"], one.get("prevtxid")) for one in node.call("getaddressmempool", asked)]
    assert changes == [(-2_495_000_000, first), (2_490_000_000, None)]
    node.call("generatetodescriptor", 1, ANYONE)
    assert node.call("getaddressmempool", asked) == []
    assert node.call("getaddressbalance", asked) == {"balance": 2_490_000_000, "received": 4_985_000_000}
    assert node.call("getaddresstxids", asked) == [first, second]
    assert node.call("getaddresstxids", asked | {"start": height + 1, "end": height + 1}) == [second]
    deltas = node.call("getaddressdeltas", asked | {"end": height})
    assert [(one["satoshis"], one["height"], one["txid"]) for one in deltas] == [(2_495_000_000, height, first)]
    assert json.loads(node.cli("getaddresstxids", address).stdout) == [first, second]

    script = bytes.fromhex(node.call("validateaddress", address)["scriptPubKey"])
    electrum = sha256(script).digest()[::-1].hex()
    assert node.call("getaddresstxids", electrum) == [first, second]
    assert failure(node, "getaddressbalance", "nobody") == (-5, "Invalid address")
    assert failure(node, "getaddresstxids", {"addresses": []})[0] == -5
    assert failure(node, "getaddressdeltas", asked | {"start": 9, "end": 3})[0] == -5


def test_a_mempool_is_imported_with_or_without_what_it_was_told_to_prefer(node: DaemonProcess) -> None:
    txid = spend(node, coinbase_of(node, 8), "49.99", ADDRESS)
    node.call("prioritisetransaction", txid, None, 1_000)
    saved = node.call("savemempool")["filename"]
    kept = node.folder / "kept.dat"
    kept.write_bytes((node.folder / "mempool.dat").read_bytes())
    assert saved == str(node.folder / "mempool.dat")
    node.call("prioritisetransaction", txid, None, -1_000)
    assert node.call("importmempool", str(kept)) == {}
    assert node.call("getprioritisedtransactions").get(txid) is None
    node.call("importmempool", str(kept), {"apply_fee_delta_priority": True})
    assert node.call("getprioritisedtransactions")[txid]["fee_delta"] == 1_000
    assert failure(node, "importmempool", str(node.folder / "none.dat"))[0] == -1
