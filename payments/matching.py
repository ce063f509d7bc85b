"""Which output of a transaction pays which invoice. Pure; the database is a function passed in.

1. An output to an invoice's own address pays that invoice.
2. An output to a fixed merchant address pays the invoice that the transaction names, when exactly one OP_RETURN
   output is one push whose bytes are an invoice id and that invoice is paid to this very address.
3. Any other output to a fixed address is loose: kept, and assigned by a claim.

One read per output, however many invoices are open.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gldnode.primitives.tx import Tx
from payments.ids import is_invoice_id
from payments.invoice import Invoice
from payments.layout import Watch

__all__ = ["Match", "match_outputs", "named_invoice"]

OP_RETURN = 0x6A
OP_PUSHDATA1 = 0x4C
OP_PUSHDATA2 = 0x4D


@dataclass(frozen=True, slots=True)
class Match:
    """Output `vout` pays a watched script."""

    vout: int
    invoice_id: str | None
    """None where it is loose."""


def _single_push(script: bytes) -> bytes | None:
    """The data of an OP_RETURN script that is one push and nothing else."""
    if len(script) < 2 or script[0] != OP_RETURN:
        return None
    size, start = script[1], 2
    if size == OP_PUSHDATA1 and len(script) >= 3:
        size, start = script[2], 3
    elif size == OP_PUSHDATA2 and len(script) >= 4:
        size, start = int.from_bytes(script[2:4], "little"), 4
    elif size >= OP_PUSHDATA1:
        return None
    return script[start:] if len(script) == start + size else None


def named_invoice(tx: Tx) -> str | None:
    """The invoice id that the transaction carries, None where it carries none or more than one."""
    names = []
    for output in tx.outputs:
        data = _single_push(output.script_pubkey)
        if data is None or not data.isascii():
            continue
        text = data.decode("ascii")
        if is_invoice_id(text):
            names.append(text)
    return names[0] if len(names) == 1 else None


def match_outputs(
    tx: Tx, watch: Callable[[bytes], Watch | None], invoice: Callable[[str], Invoice | None]
) -> Iterator[Match]:
    """The outputs of `tx` that pay watched scripts, in order."""
    named: Invoice | None = None
    looked = False
    for vout, output in enumerate(tx.outputs):
        script = output.script_pubkey
        if not script or script[0] == OP_RETURN:
            continue
        watched = watch(script)
        if watched is None:
            continue
        if watched.invoice_id:
            yield Match(vout, watched.invoice_id)
            continue
        if not looked:
            looked = True
            name = named_invoice(tx)
            named = invoice(name) if name is not None else None
        is_named = named is not None and not named.own_address and named.script == script
        yield Match(vout, named.id if named is not None and is_named else None)
