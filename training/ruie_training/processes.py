"""This process among those that torchrun or accelerate started."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """The rank of a process, and how many there are."""

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> Process:
        """From ``RANK`` and ``WORLD_SIZE``; one process where they are absent."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.rank == 0
