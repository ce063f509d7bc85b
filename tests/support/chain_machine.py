"""A chain over three stores that lose power together, fill up or break together."""

from itertools import product

from gldnode.chain.chainstate import Chainstate
from gldnode.chain.options import ChainOptions
from gldnode.clock import MockableClock
from gldnode.params import REGTEST
from storage.errors import StorageError
from tests.support.chain_faults import FaultFiles
from tests.support.storage_faults import FaultKV, PowerSupply

__all__ = ["STRICT", "DiskFault", "FaultyDisk", "Machine"]

STRICT = ChainOptions(check_level=4, check_blocks=6, max_block_file_bytes=4_000)
"""Everything is checked at start; a dozen blocks fill a file."""


class DiskFault(StorageError, OSError):
    """What a broken disk raises, from a database as from a file."""


class FaultyDisk(PowerSupply):
    """Fails one read or write, or all from that one on until `heal`."""

    def __init__(self, *, read: int = 0, write: int = 0, stays: bool = False) -> None:
        """`read` and `write` are numbers, counted from 1 over all stores; 0 is none."""
        super().__init__()
        self.reads = 0
        self._bad_read, self._bad_write, self._stays = read, write, stays
        self.failed = False

    def heal(self) -> None:
        self._bad_read = self._bad_write = 0

    def check(self) -> None:
        self.reads += 1
        self._fail(self.reads, self._bad_read, 5, "Input/output error")

    def count_write(self) -> int:
        self.writes += 1
        self._fail(self.writes, self._bad_write, 28, "No space left on device")
        return self.writes

    def _fail(self, number: int, bad: int, errno: int, text: str) -> None:
        if bad and (number >= bad if self._stays else number == bad):
            self.failed = True
            raise DiskFault(errno, text)


class Machine:
    """Three stores on one power supply."""

    def __init__(self, index: FaultKV, coins: FaultKV, files: FaultFiles, power: PowerSupply) -> None:
        self.index, self.coins, self.files, self.power = index, coins, files, power

    @classmethod
    def empty(cls) -> "Machine":
        power = PowerSupply()
        return cls(FaultKV(power), FaultKV(power), FaultFiles(power), power)

    def open(self, options: ChainOptions = STRICT, *, now: int = 6 * 3600) -> Chainstate:
        clock = MockableClock()
        clock.set_mock_time(REGTEST.genesis.header.time + now)
        return Chainstate(REGTEST, self.index, self.coins, self.files, options, clock)

    def copy(self, power: PowerSupply | None = None) -> "Machine":
        """The same content, all of it durable."""
        power = power or PowerSupply()
        content = {name: bytes(file.content) for name, file in self.files.files.items()}
        return Machine(
            FaultKV(power, self.index.content()),
            FaultKV(power, self.coins.content()),
            FaultFiles(power, content),
            power,
        )

    def outcomes(self) -> "list[Machine]":
        """Every combination of what the stores may have kept."""
        found = []
        for index, coins, files in product(self.index.survivors(), self.coins.survivors(), self.files.survivors()):
            found.append(Machine(index, coins, files, PowerSupply()).copy())
        return found
