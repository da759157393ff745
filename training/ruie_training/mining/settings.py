"""The section ``[mine]`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ruie_training.data.settings import Positive, Section


class Mine(Section):
    """The candidates of every query."""

    k: Positive = 100
    """Candidates of each query."""
    ranker: Literal["bm25", "embedded"] = "bm25"
    """``bm25`` (paper), or ``embedded``: the nearest by the package's encoder."""
    random: int = Field(0, ge=0)
    """Random candidates added to each query's list, drawn from the query's own set."""
