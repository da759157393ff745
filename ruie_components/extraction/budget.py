"""The limits of a run over a corpus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """The limits of a run, resumed parts included. It stops before the document that would exceed a limit.

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
        return None if self.prices is None else (read * self.prices[0] + written * self.prices[1]) / 1_000_000

    def exceeded(self, calls: int, read: int, written: int) -> str | None:
        """The limit that so many calls and tokens exceed; ``None`` if they fit."""
        if self.calls is not None and calls > self.calls:
            return f"the budget of {self.calls:,} calls"
        if self.tokens is not None and read + written > self.tokens:
            return f"the budget of {self.tokens:,} tokens"
        if self.cost is not None and (self.price_of(read, written) or 0.0) > self.cost:
            return f"the budget of {self.cost:,} of money"
        return None
