"""Room on the disk (`-mindiskfree`): without it no block is taken, and people are told why."""

import errno
import logging
import shutil
from pathlib import Path
from typing import Final

from gldnode.chain.options import DiskSpaceLow

__all__ = ["DiskSpace"]

log = logging.getLogger(__name__)
_MIB: Final = 1 << 20


class DiskSpace:
    """Watches one folder's disk. Any thread."""

    def __init__(self, folder: Path | None, least_mib: int) -> None:
        """No folder: there is always room. `least_mib` 0: until the disk itself says no."""
        self._folder = folder
        self._least_mib = least_mib
        self._problem: str | None = None
        self._refused: str | None = None

    def check(self) -> None:
        """Raises DiskSpaceLow where less is free than should be."""
        problem = self._measure()
        if problem != self._problem:
            if self._problem is None:
                log.error("%s. No blocks are taken until there is more.", problem)
            elif problem is None:
                log.info("There is room on the disk again: blocks are taken")
            self._problem = problem
        if problem is not None:
            raise DiskSpaceLow(problem)

    def _measure(self) -> str | None:
        if self._folder is None or not self._least_mib:
            return None
        if shutil.disk_usage(self._folder).free >= self._least_mib * _MIB:
            return None
        return f"Disk space is too low! Less than {self._least_mib} MiB (-mindiskfree) are free for {self._folder}"

    def refused(self, what: str, error: OSError) -> DiskSpaceLow:
        """The disk took no more; what to raise."""
        full = "Disk space is too low! " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        problem = f"{full}{what} could not be stored: {error.strerror or error}"
        if self._refused is None:
            log.error("%s", problem)
        self._refused = problem
        return DiskSpaceLow(problem)

    def taken(self) -> None:
        """The disk took a block."""
        if self._refused is not None:
            log.info("The disk takes blocks again")
            self._refused = None

    @property
    def warning(self) -> str | None:
        """Why no block is taken just now; None while all is well. Looks afresh."""
        try:
            self.check()
        except DiskSpaceLow as error:
            return str(error)
        return self._refused
