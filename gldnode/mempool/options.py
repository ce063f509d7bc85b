"""What an operator can set about the mempool; the defaults are Bitcoin Core's."""

from dataclasses import dataclass

__all__ = ["MempoolOptions"]


@dataclass(frozen=True, slots=True)
class MempoolOptions:
    """Feerates are grains per 1,000 virtual bytes."""

    max_mempool_bytes: int = 300_000_000
    """`-maxmempool`, of memory."""
    expiry_s: int = 336 * 3600
    """`-mempoolexpiry`."""
    min_relay_feerate: int = 100
    """`-minrelaytxfee`."""
    incremental_relay_feerate: int = 100
    """`-incrementalrelayfee`."""
    dust_relay_feerate: int = 3000
    """`-dustrelayfee`."""
    require_standard: bool = True
    """`-acceptnonstdtxn=0`."""
    permit_bare_multisig: bool = True
    """`-permitbaremultisig`."""
    max_datacarrier_bytes: int | None = 100_000
    """`-datacarriersize`: of all OP_RETURN outputs together; None refuses them (`-datacarrier=0`)."""
    bytes_per_sigop: int = 20
    """`-bytespersigop`."""
    ancestor_count: int = 25
    """`-limitancestorcount`, the transaction itself included."""
    ancestor_size_vb: int = 101_000
    """`-limitancestorsize`."""
    descendant_count: int = 25
    """`-limitdescendantcount`."""
    descendant_size_vb: int = 101_000
    """`-limitdescendantsize`."""
    max_orphans: int = 100
    """`-maxorphantx`."""
    full_rbf: bool = True
    """`-mempoolfullrbf`: replacement whether or not a transaction signals it."""
    check_ratio: int = 0
    """Check the pool's own consistency after one of so many changes (`-checkmempool`); 0 never."""
