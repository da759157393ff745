"""The limits of a run over a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from ruie_components.integers import counted


def cost_of(prices: tuple[float, float] | None, read: int, written: int) -> float | None:
    """The cost of tokens, in the currency of the prices; ``None`` without prices.

    Args:
        prices: Per million tokens read, and per million written.
        read: Tokens read.
        written: Tokens written.

    >>> cost_of((0.5, 2.0), read=1_000_000, written=250_000)
    1.0
    """
    return None if prices is None else (read * prices[0] + written * prices[1]) / 1_000_000


@dataclass(frozen=True)
class Budget:
    """The limits of a run, resumed parts and retries included. It stops before the document that would exceed one.

    A document's tokens are estimated before its requests: its prompts by the extractor's ``count_tokens``, its answers
    as long as the longest so far (for several requests, their mean). The actual use counts, even if it is higher.

    Args:
        calls: Requests, without repeats after network errors.
        tokens: Tokens read and written.
        cost: Money, in the currency of ``prices``.
        prices: Per million tokens read, and per million written.

    Raises:
        ValueError: A limit is negative, or there is a cost limit without prices.
    """

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "cost"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"a budget of {name} must be >= 0, got {getattr(self, name)}")
        if self.cost is not None and self.prices is None:
            raise ValueError("a budget of money needs prices: per million tokens read, and per million written")

    def price_of(self, read: int, written: int) -> float | None:
        """The cost of tokens read and written; ``None`` without prices."""
        return cost_of(self.prices, read, written)

    def exceeded(self, calls: int, read: int, written: int) -> str | None:
        """The limit that so many calls and tokens exceed; ``None`` if they fit."""
        if self.calls is not None and calls > self.calls:
            return f"the budget of {counted(self.calls, 'call')}"
        if self.tokens is not None and read + written > self.tokens:
            return f"the budget of {counted(self.tokens, 'token')}"
        if self.cost is not None and (self.price_of(read, written) or 0.0) > self.cost:
            return f"the budget of {self.cost:,} of money"
        return None


@dataclass(frozen=True)
class Spent:
    """What a run has used of its budget: requests, tokens read and written."""

    calls: int = 0
    read: int = 0
    written: int = 0

    def plus(self, calls: int, read: int | None, written: int | None) -> Spent:
        """The use with that of one more document; unknown tokens count as 0."""
        return Spent(self.calls + calls, self.read + (read or 0), self.written + (written or 0))
