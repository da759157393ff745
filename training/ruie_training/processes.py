"""The rank of this process among those started by torchrun or accelerate."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """The rank of a process, and the number of processes."""

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> Process:
        """From ``RANK`` and ``WORLD_SIZE``; by default a single process."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes shared files."""
        return self.rank == 0
