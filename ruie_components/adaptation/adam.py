"""Adam over the rows of a large matrix, when each step uses only some of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
_EPSILON = np.float32(1e-8)
_BLOCK = 64  # rows per block: a block fits the processor's cache, which is several times as fast


class LazyAdam:
    """Adam over the rows of a matrix, at the cost of a batch's rows only.

    Plain Adam keeps moving a row after its last gradient, by its decaying moments. This class applies these steps at
    once when the row is used again: after ``j`` steps without a gradient the moments are ``m a^j`` and ``v b^j``, so
    the steps differ by one factor for the whole row (apart from Adam's tiny epsilon).

    Args:
        values: The matrix, changed in place.
        rates: The learning rate of each step.
        betas: Decay of the first and of the second moment.
    """

    def __init__(self, values: Vectors, rates: NDArray[np.float64], betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.values, self.betas = values, betas
        number = np.arange(1, len(rates) + 1)
        first, second = betas
        self._sizes = rates * np.sqrt(1 - second**number) / (1 - first**number)  # with the bias correction
        self._ratio = first / np.sqrt(second)
        self._sums = np.concatenate([[0], np.cumsum(self._sizes * self._ratio ** np.arange(len(rates)))])
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)
        self._last = np.zeros(len(values), np.int64)  # the last step in which a row had a gradient

    def rows(self, rows: Rows, step: int) -> Vectors:
        """The current values of some rows, after all pending steps before ``step``."""
        last = self._last[rows]
        factor = (self._sums[step] - self._sums[np.minimum(last + 1, step)]) * self._ratio ** -last.astype(float)
        factors = factor.astype(np.float32)[:, None]
        current = np.empty((len(rows), self.values.shape[1]), np.float32)
        for block in _blocks(len(rows)):
            chosen = rows[block]
            moved = self._square[chosen]
            _divide_by_root(self._mean[chosen], moved, out=moved)
            moved *= factors[block]
            np.subtract(self.values[chosen], moved, out=current[block])
        return current

    def step(self, rows: Rows, current: Vectors, gradient: Vectors, step: int) -> None:
        """Move rows by their gradient, which is overwritten.

        Args:
            rows: The rows.
            current: Their values from ``rows``.
            gradient: At these values.
            step: The number of the step.
        """
        gap = (step - self._last[rows]).astype(float)
        first, second = self.betas
        first_decay, second_decay = ((beta**gap).astype(np.float32)[:, None] for beta in self.betas)
        for block in _blocks(len(rows)):
            chosen, change = rows[block], gradient[block]
            mean, square = self._mean[chosen], self._square[chosen]
            mean *= first_decay[block]
            square *= second_decay[block]
            change *= np.float32(1 - first)
            mean += change
            np.square(change, out=change)
            change *= np.float32((1 - second) / (1 - first) ** 2)
            square += change
            self._mean[chosen], self._square[chosen] = mean, square
            _divide_by_root(mean, square, out=mean)
            mean *= np.float32(self._sizes[step])
            self.values[chosen] = current[block] - mean
        self._last[rows] = step

    def finish(self) -> None:
        """Apply the pending steps of all rows."""
        every = np.arange(len(self.values))
        for block in _blocks(len(every)):
            self.values[block] = self.rows(every[block], len(self._sizes))


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, size, _BLOCK)]


def _divide_by_root(mean: Vectors, square: Vectors, *, out: Vectors) -> None:
    """``mean / (sqrt(square) + epsilon)``; ``square`` is overwritten."""
    np.sqrt(square, out=square)
    square += _EPSILON
    np.divide(mean, square, out=out)
