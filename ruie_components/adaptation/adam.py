"""Adam over the rows of a large matrix of which each step uses only some."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
_EPSILON = np.float32(1e-8)


class LazyAdam:
    """Adam over the rows of a matrix that costs only the rows of a batch.

    Plain Adam goes on moving a row after its last gradient, by its decaying moments. Those steps are made up for in one
    when the row is used again: after ``j`` steps without a gradient the moments are ``m a^j`` and ``v b^j``, so that
    the steps differ by a factor that is the same for the whole row (but for Adam's tiny epsilon).

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
        """The current values of some rows, with the steps before ``step`` made up for."""
        last = self._last[rows]
        factor = (self._sums[step] - self._sums[np.minimum(last + 1, step)]) * self._ratio ** -last.astype(float)
        mean, square = self._mean[rows], self._square[rows]
        self.gathered = mean, square
        moved = np.sqrt(square)
        moved += _EPSILON
        np.divide(mean, moved, out=moved)
        moved *= factor.astype(np.float32)[:, None]
        current = self.values[rows]
        current -= moved
        self.current = current
        return current

    def step(self, rows: Rows, gradient: Vectors, step: int) -> None:
        """Move the rows, which ``rows`` has just returned, by their gradient."""
        mean, square = self.gathered
        gap = (step - self._last[rows]).astype(float)
        first, second = self.betas
        mean *= (first**gap).astype(np.float32)[:, None]
        mean += np.float32(1 - first) * gradient
        square *= (second**gap).astype(np.float32)[:, None]
        np.square(gradient, out=gradient)
        gradient *= np.float32(1 - second)
        square += gradient
        self._mean[rows], self._square[rows], self._last[rows] = mean, square, step
        np.sqrt(square, out=square)
        square += _EPSILON
        np.divide(mean, square, out=mean)
        mean *= np.float32(self._sizes[step])
        self.current -= mean
        self.values[rows] = self.current

    def finish(self) -> None:
        """Make up for the steps that are left of all rows."""
        end = len(self._sizes)
        for start in range(0, len(self.values), 4096):
            part = np.arange(start, min(start + 4096, len(self.values)))
            self.values[part] = self.rows(part, end)
