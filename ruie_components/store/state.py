"""The state of a pool: which rows it has."""

from __future__ import annotations

import hashlib

from ruie_components.store.connections import chroma_errors
from ruie_components.store.open_pool import OpenPool
from ruie_components.types import Task

_DIGITS = 16  # hexadecimal


def row_state(pool: OpenPool, task: Task) -> tuple[int, str]:
    """The number of a task's rows, and a digest of their ids, which are hashes of their content.

    The ids are read anew: on a server others may have replaced rows by as many. 50,000 take about half a second.
    """
    if task not in pool.collections:
        ids = []
    else:
        with chroma_errors(pool.connection.location, "reading"):
            ids = sorted(pool.collections[task].get(include=[])["ids"])
    return len(ids), hashlib.sha256("\n".join(ids).encode()).hexdigest()[:_DIGITS]
