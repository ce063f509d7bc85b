"""The chain's options as an operator uses them: a real daemon for each."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from gldnode.primitives.block import Block
from tests.support.chain import RegtestChain
from tests.support.chain_blocks import ready_chain, write_block_file
from tests.support.daemon import DaemonProcess, RpcFailure, run_to_end

MINER = "gldrt1qqqqsyqcyq5rqwzqfpg9scrgwpugpzysn5rej0f"
LEAN = ("-nopayments", "-disablewallet", "-addressindex=0")
_MIB = 1 << 20


def _submit(daemon: DaemonProcess, blocks: list[Block]) -> None:
    """All in one request. Raises AssertionError for one that is not taken."""
    calls = [{"id": n, "method": "submitblock", "params": [block.raw.hex()]} for n, block in enumerate(blocks)]
    status, _, data = daemon.request(json.dumps(calls))
    assert status == 200
    assert [reply["result"] for reply in json.loads(data)] == [None] * len(blocks)


def _wait_height(daemon: DaemonProcess, height: int) -> None:
    end = time.monotonic() + 30
    while daemon.call("getblockcount") != height:
        assert time.monotonic() < end
        time.sleep(0.05)


def _utxo_hash(daemon: DaemonProcess) -> str:
    return str(daemon.call("gettxoutsetinfo")["hash_serialized_3"])


def test_blocks_from_a_file_the_checks_at_start_and_the_height_to_stop_at(tmp_path: Path) -> None:
    blocks, expected = ready_chain(200)
    shuffled = [blocks[1], blocks[0], *blocks[3:], blocks[2]]  # children before their parents
    file = write_block_file(tmp_path / "bootstrap.dat", shuffled)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    daemon = DaemonProcess(tmp_path, *LEAN, f"-blocksdir={elsewhere}")
    usual = daemon.flags
    daemon.flags += (f"-loadblock={write_block_file(tmp_path / 'sorted.dat', blocks)}", "-stopatheight=50")
    daemon.start()
    assert daemon.wait() == 0  # by itself
    assert "Stopping at height 50" in daemon.log_text
    assert (elsewhere / "regtest/blocks/blk00000.dat").stat().st_size > 10_000
    assert not (daemon.folder / "blocks/blk00000.dat").exists()

    checkpoint = f"-checkpoint=120:{blocks[119].hash[::-1].hex()}"
    daemon.flags = (*usual, f"-loadblock={file}", "-checkblocks=0", "-checklevel=4", "-par=2", checkpoint)
    with daemon:
        _wait_height(daemon, 200)
        assert daemon.call("verifychain", 4, 0) is True
        info = daemon.call("gettxoutsetinfo")
        assert (info["height"], info["hash_serialized_3"]) == (200, expected)
        assert len(daemon.call("gettxoutsetinfo", "muhash")["muhash"]) == 64
        assert "hash_serialized_3" not in daemon.call("gettxoutsetinfo", "none")
        with pytest.raises(RpcFailure, match="-8: 'odd' is not a valid hash_type"):
            daemon.call("gettxoutsetinfo", "odd")
        with pytest.raises(RpcFailure, match="bad-fork-prior-to-checkpoint"):
            daemon.call("submitheader", _fork_header(blocks, 100))
        assert daemon.stop() == 0

    daemon.flags = (*usual, f"-checkpoint=120:{'ab' * 32}", f"-minimumchainwork={'f' * 64}", "-assumevalid=0")
    with daemon:  # a checkpoint that our chain does not keep to: it is left
        assert daemon.call("getblockcount") == 119
        with pytest.raises(RpcFailure, match="checkpoint mismatch"):
            daemon.call("submitheader", _fork_header(blocks, 119))
        assert daemon.call("submitblock", blocks[119].raw.hex()) == "duplicate-invalid"
        assert daemon.call("getblockchaininfo")["initialblockdownload"] is True
        assert daemon.stop() == 0

    daemon.flags = (*usual, "-reindex-chainstate")
    with daemon:
        daemon.call("reconsiderblock", blocks[119].hash[::-1].hex())
        assert daemon.call("getblockcount") == 200
        assert _utxo_hash(daemon) == expected
        assert daemon.stop() == 0

    data = bytearray((elsewhere / "regtest/blocks/blk00000.dat").read_bytes())
    data[-20] ^= 1
    (elsewhere / "regtest/blocks/blk00000.dat").write_bytes(data)
    assert "Corrupted block database detected" in run_to_end(tmp_path, *usual, "-checklevel=4").stderr


def _fork_header(blocks: list[Block], height: int) -> str:
    """Of another block behind the one at `height`."""
    chain = RegtestChain()
    for block in blocks[:height]:
        chain.accept(block)
    return chain.block().raw[:80].hex()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("-checkpoint=5", "Invalid -checkpoint=5: it is height:hash"),
        ("-assumevalid=xyz", "Invalid assumevalid block hash specified (xyz), must be up to 64 hex digits"),
        ("-minimumchainwork=xyz", "Invalid minimum work specified (xyz), must be up to 64 hex digits"),
        ("-blocksdir=/nowhere", 'Specified blocks directory "/nowhere" does not exist.'),
    ],
)
def test_what_cannot_be_followed_is_said(flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from gldnode.app import main

    assert main(["-regtest", flag]) == 1
    assert capsys.readouterr().err == f"Error: {message}\n"


def test_a_reindex_can_be_interrupted_and_goes_on(tmp_path: Path) -> None:
    """SIGTERM while files are read, then while blocks are connected; then to the end."""
    blocks, _ = ready_chain(2_000, spends=False)
    (tmp_path / "regtest/blocks").mkdir(parents=True)
    write_block_file(tmp_path / "regtest/blocks/blk00000.dat", blocks)
    daemon = DaemonProcess(tmp_path, *LEAN)
    usual = daemon.flags
    for flags, awaited in (((*usual, "-reindex"), "Loading block index"), (usual, "Connecting blocks")):
        seen = len(daemon.log_text)
        daemon.flags = flags
        process = daemon.launch()
        end = time.monotonic() + 20
        while awaited not in daemon.log_text[seen:]:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Done loading" not in daemon.log_text[seen:]
        assert "Shutdown: done" in daemon.log_text[seen:]
        assert "Traceback" not in daemon.log_text[seen:]
    daemon.flags = usual
    with daemon:
        assert daemon.call("getbestblockhash") == blocks[-1].hash[::-1].hex()
        assert daemon.stop() == 0


def test_a_reindex_keeps_payments_and_wallets(tmp_path: Path) -> None:
    """They go on from where they were: what was paid before stays, what is paid behind it is seen."""
    daemon = DaemonProcess(tmp_path)
    usual = daemon.flags

    def invoice(amount: float) -> str:
        body = json.dumps({"merchant": merchant, "amount": amount, "currency": "GLD", "ttlSeconds": 3600})
        status, _, data = daemon.request(
            body,
            path="/api/btngpay/invoice",
            auth=None,
            headers={"Authorization": f"token {key}", "Content-Type": "application/json"},
        )
        assert status in (200, 201), data
        return str(json.loads(data)["invoiceId"])

    def state(which: str) -> str:
        status, _, data = daemon.request("", path=f"/api/btngpay/invoice/{which}", method="GET", auth=None)
        assert status == 200, data
        return str(json.loads(data)["status"])

    def pay(which: str, amount: float) -> None:
        data = which.encode().hex()
        daemon.call("send", [{merchant: amount}, {"data": data}], wallet="shop")
        daemon.call("generatetoaddress", 7, MINER)
        end = time.monotonic() + 15
        while state(which) != "paid":
            assert time.monotonic() < end, state(which)
            time.sleep(0.05)

    with daemon:
        daemon.call("createwallet", "shop", False, False, "", False, True, True)
        daemon.call("generatetoaddress", 103, daemon.call("getnewaddress"))
        merchant = daemon.call("getnewaddress")
        store = daemon.call("createstore", "Corner", merchant)
        key = daemon.call("createapikey", "till", store["storeId"])["apiKey"]
        first, second = invoice(1.5), invoice(2.5)
        pay(first, 1.5)
        before = (daemon.call("getwalletinfo", wallet="shop"), daemon.call("getbalances", wallet="shop"))
        coins = _utxo_hash(daemon)
        assert daemon.stop() == 0
    daemon.flags = (*usual, "-reindex")
    with daemon:
        assert daemon.call("getblockcount") == 110
        assert _utxo_hash(daemon) == coins
        after = (daemon.call("getwalletinfo", wallet="shop"), daemon.call("getbalances", wallet="shop"))
        assert after[0]["txcount"] == before[0]["txcount"]
        assert after[1] == before[1]
        assert (state(first), state(second)) == ("paid", "pending")
        pay(second, 2.5)
        assert "does not know" not in daemon.log_text
        assert daemon.stop() == 0


def test_too_little_disk_space_is_said_everywhere_and_ends_by_itself(tmp_path: Path) -> None:
    blocks, _ = ready_chain(3, spends=False)
    free = shutil.disk_usage(tmp_path).free // _MIB
    if free < 3_000:
        pytest.skip("needs 3 GB of free disk")
    notes = tmp_path / "notes"
    ballast = tmp_path / "ballast"
    daemon = DaemonProcess(
        tmp_path, *LEAN, f"-mindiskfree={free - 1_000}", f"-alertnotify=echo %s >> {notes}", "-listen=0"
    )
    with daemon:
        assert daemon.call("submitblock", blocks[0].raw.hex()) is None
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2_000 * _MIB)
        with pytest.raises(RpcFailure, match=r"-1: Disk space is too low! Less than .* MiB .-mindiskfree"):
            daemon.call("submitblock", blocks[1].raw.hex())
        with pytest.raises(RpcFailure, match="Disk space is too low!"):
            daemon.call("generatetoaddress", 1, MINER)
        assert any("Disk space is too low!" in text for text in daemon.call("getblockchaininfo")["warnings"])
        assert "No blocks are taken until there is more" in daemon.log_text
        assert daemon.call("getblockcount") == 1
        end = time.monotonic() + 10
        while not notes.exists() or "too low" not in notes.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        ballast.unlink()
        assert daemon.call("submitblock", blocks[1].raw.hex()) is None
        assert daemon.call("generatetoaddress", 1, MINER)
        assert not any("Disk space" in text for text in daemon.call("getblockchaininfo")["warnings"])
        assert "There is room on the disk again" in daemon.log_text
        assert daemon.stop() == 0


def test_pruning_keeps_what_wallets_need_and_refuses_those_left_behind(tmp_path: Path) -> None:
    blocks, coins = ready_chain(800, spends=False)
    daemon = DaemonProcess(tmp_path, "-nopayments", "-addressindex=0", "-prune=1", "-fastprune", "-keypool=5")
    usual = daemon.flags
    with daemon:
        daemon.call("createwallet", "stays", True, True)
        daemon.call("createwallet", "left", True, True)
        daemon.call("unloadwallet", "left")
        _submit(daemon, blocks)
        with pytest.raises(RpcFailure, match="-8: Blockchain is shorter than the attempted prune height"):
            daemon.call("pruneblockchain", 5_000)
        end = time.monotonic() + 20
        while (pruned := daemon.call("pruneblockchain", 512)) < 0:  # not before the loaded wallet has read them
            assert time.monotonic() < end
            time.sleep(0.05)
        assert 200 < pruned <= 512
        info = daemon.call("getblockchaininfo")
        assert (info["pruned"], info["pruneheight"]) == (True, pruned + 1)
        with pytest.raises(RpcFailure, match=r"-1: Block not available .pruned data"):
            daemon.call("getblock", daemon.call("getblockhash", 10))
        with pytest.raises(RpcFailure) as refused:
            daemon.call("loadwallet", "left")
        assert refused.value.code == -4
        assert refused.value.message == (
            "Wallet loading failed. Prune: last wallet synchronisation goes beyond pruned data. You need to "
            "-reindex (download the whole blockchain again in case of a pruned node)"
        )
        assert daemon.call("listwallets") == ["stays"]
        assert daemon.call("verifychain", 4, 50) is True
        assert daemon.stop() == 0
    failed = run_to_end(tmp_path, *(flag for flag in usual if "prune" not in flag))
    assert "You need to rebuild the database using -reindex to go back to unpruned mode." in failed.stderr
    with daemon:
        assert daemon.call("getblockcount") == 800
        assert _utxo_hash(daemon) == coins
        assert daemon.stop() == 0
    daemon.flags = (*usual, "-reindex")
    with daemon:  # what is left does not follow on from genesis: the chain is fetched again
        assert daemon.call("getblockcount") == 0
        assert not list((daemon.folder / "blocks").glob("rev*"))
        assert daemon.stop() == 0
