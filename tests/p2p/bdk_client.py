"""Run by a test in a process of its own: syncs a wallet by compact filters; prints address, balance, height."""

import asyncio
import sys

import bdkpython as bdk


async def main(port: int, phrase: str, folder: str) -> None:
    secret = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(phrase), None)
    chains = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
    outside, inside = (bdk.Descriptor.new_bip86(secret, chain, bdk.NetworkKind.TEST) for chain in chains)
    wallet = bdk.Wallet(outside, inside, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
    address = wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address
    peer = bdk.Peer(address=bdk.IpAddress.from_ipv4(127, 0, 0, 1), port=port, v2_transport=False)
    light = bdk.CbfBuilder().connections(1).peers([peer]).data_dir(folder).scan_type(bdk.ScanType.SYNC())
    parts = light.build(wallet)
    parts.node.run()
    async with asyncio.timeout(90):
        wallet.apply_update(await parts.client.update())
    parts.client.shutdown()
    print(address, wallet.balance().confirmed.to_sat(), wallet.latest_checkpoint().height)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
