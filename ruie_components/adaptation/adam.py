"""Adam over the rows of a large matrix, when each step uses only some of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
_EPSILON = 1e-8
_BLOCK = 64  # rows per block: a block fits the processor's cache, which is several times as fast


class LazyAdam:
    """Adam over the rows of a matrix, at the cost of a batch's rows only.

    Plain Adam keeps moving a row after its last gradient, by its decaying moments. This class applies these steps at
    once when the row is used again: after ``j`` steps without a gradient the moments are ``m a^j`` and ``v b^j``, so
    the steps differ by one factor for the whole row (apart from Adam's tiny epsilon): ``r^j`` with ``r = a / sqrt(b)``.

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
        self._pending = _discounted_sums(self._sizes, self._ratio)
        # Both moments are kept without their factors 1 - beta, which a step then multiplies in once for all.
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)
        self._factor = (1 - first) / np.sqrt(1 - second)
        self._epsilon = np.float32(_EPSILON / np.sqrt(1 - second))
        self._last = np.full(len(values), -1)  # the last step in which a row had a gradient; -1: none

    def rows(self, rows: Rows, step: int) -> Vectors:
        """The current values of some rows, (n, d), after all pending steps before ``step``."""
        current = self.values[rows]
        last = self._last[rows]
        late = np.flatnonzero((last >= 0) & (last < step - 1))  # others have no pending step
        last = last[late]
        factor = self._pending[last] - self._ratio ** (step - 1 - last) * self._pending[step - 1]
        factors = (factor * self._factor).astype(np.float32)[:, None]
        for block in _blocks(len(late)):
            chosen = rows[late[block]]
            moved = self._square[chosen]
            self._divide_by_root(self._mean[chosen], moved, out=moved)
            moved *= factors[block]
            current[late[block]] -= moved
        return current

    def step(self, rows: Rows, current: Vectors, gradient: Vectors, step: int) -> None:
        """Move rows by their gradient.

        Args:
            rows: The rows, (n,).
            current: Their values from ``rows``, (n, d); overwritten.
            gradient: At these values, (n, d); overwritten.
            step: The number of the step.
        """
        gap = (step - self._last[rows]).astype(float)
        first_decay, second_decay = ((beta**gap).astype(np.float32)[:, None] for beta in self.betas)
        size = np.float32(self._sizes[step] * self._factor)
        for block in _blocks(len(rows)):
            chosen, change, values = rows[block], gradient[block], current[block]
            mean, square = self._mean[chosen], self._square[chosen]
            mean *= first_decay[block]
            mean += change
            np.square(change, out=change)
            square *= second_decay[block]
            square += change
            self._mean[chosen], self._square[chosen] = mean, square
            self._divide_by_root(mean, square, out=mean)
            mean *= size
            values -= mean
            self.values[chosen] = values
        self._last[rows] = step

    def finish(self) -> None:
        """Apply the pending steps of all rows."""
        every = np.arange(len(self.values))
        for block in _blocks(len(every)):
            self.values[block] = self.rows(every[block], len(self._sizes))

    def _divide_by_root(self, mean: Vectors, square: Vectors, *, out: Vectors) -> None:
        """``mean / (sqrt(square) + epsilon)``; ``square`` is overwritten."""
        np.sqrt(square, out=square)
        square += self._epsilon
        np.divide(mean, square, out=out)


def _discounted_sums(sizes: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """For each step i the sum over all later steps j of ``sizes[j] ratio^(j - i)``, (steps,).

    Computed from the last step backwards: in differences of sums from the first step on, the powers of ``ratio`` would
    vanish beside the sums after some 300 steps.
    """
    sums = np.zeros(len(sizes))
    for i in range(len(sizes) - 2, -1, -1):
        sums[i] = ratio * (sizes[i + 1] + sums[i + 1])
    return sums


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, size, _BLOCK)]
