"""An encoder of static token vectors, in numpy: a text's vector is the weighted sum of its tokens' vectors."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders.base import TextRole, Vectors, unit_vectors
from ruie_components.encoders.folder import (
    CONFIG,
    TOKENIZER,
    VECTORS,
    EncoderConfig,
    FolderEncoder,
    read_file,
    write_folder,
)
from ruie_components.errors import EncoderError


@dataclass(frozen=True)
class TokenVectors:
    """Quantized token vectors: the vector of token ``i`` is ``integers[i] * scale[i]``.

    With 4 bits, a byte of ``table`` holds two numbers, each 8 above its value: the low half is column ``j`` and the
    high half is column ``j + d / 2``.
    """

    table: NDArray[Any]
    """(tokens, d) int8, or with 4 bits (tokens, d / 2) uint8."""
    scale: NDArray[np.float32]
    """(tokens,): the step size of each row."""
    count_exponent: float = 1.0
    """A token that occurs c times in a text counts ``c ** count_exponent`` times."""

    @classmethod
    def quantize(cls, vectors: Vectors, bits: int = 8, count_exponent: float = 1.0) -> TokenVectors:
        """Round token vectors, (tokens, d), so that the largest absolute value of a row becomes 7 or 127.

        Raises:
            ValueError: ``bits`` is not 4 or 8, or it is 4 and d is odd.
        """
        if bits not in (4, 8) or (bits == 4 and vectors.shape[1] % 2):
            raise ValueError(
                f"vectors of {vectors.shape[1]} numbers can't be stored with {bits} bits: use 8 bits, or 4 where the "
                f"dimension is even"
            )
        scale = (np.abs(vectors).max(1) / np.float32(2 ** (bits - 1) - 1)).astype(np.float32)
        steps = np.rint(vectors / np.where(scale > 0, scale, 1)[:, None])
        if bits == 8:
            return cls(steps.astype(np.int8), scale, count_exponent)
        low, high = np.split((steps + 8).astype(np.uint8), 2, axis=1)
        return cls(low | high << 4, scale, count_exponent)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.table.shape[1]) * (2 if self.table.dtype == np.uint8 else 1)

    def vectors(self, tokens: NDArray[np.int64]) -> Vectors:
        """The vectors of some tokens, (n, d).

        >>> exact = np.array([[7, -3.5], [0, 1]], np.float32)
        >>> TokenVectors.quantize(exact, bits=4).vectors(np.array([1])).tolist()
        [[0.0, 1.0]]
        """
        return np.asarray(self._steps(tokens) * self.scale[tokens][:, None])

    def _steps(self, tokens: NDArray[np.int64]) -> Vectors:
        """The integers of some tokens as floating-point numbers, (n, d)."""
        steps = self.table[tokens]
        if steps.dtype == np.int8:
            return steps.astype(np.float32)
        half = steps.shape[1]
        numbers = np.empty((len(tokens), 2 * half), np.float32)
        numbers[:, :half] = steps & 15
        numbers[:, half:] = steps >> 4
        numbers -= 8
        return numbers

    def embed(self, tokens: Sequence[int]) -> Vectors:
        """The sum of a text's token vectors, (d,); zeros for a text without tokens."""
        distinct, counts = np.unique(np.asarray(tokens, np.int64), return_counts=True)
        weights: Vectors = counts.astype(np.float32) ** np.float32(self.count_exponent)
        return np.asarray((weights * self.scale[distinct]) @ self._steps(distinct))  # scales n numbers instead of n * d

    def widen(self, more: TokenVectors) -> TokenVectors:
        """The same vectors with 8 bits, followed by further tokens, which also have 8 bits."""
        table = self.table
        if table.dtype == np.uint8:
            table = np.concatenate([table & 15, table >> 4], axis=1).astype(np.int8) - np.int8(8)
        scale = np.concatenate([self.scale, more.scale])
        return TokenVectors(np.concatenate([table, more.table]), scale, self.count_exponent)

    def replace(self, tokens: NDArray[np.int64], vectors: Vectors) -> TokenVectors:
        """A copy in which some tokens have other vectors, (n, d); needs 8 bits."""
        other = TokenVectors.quantize(vectors)
        table, scale = self.table.copy(), self.scale.copy()
        table[tokens], scale[tokens] = other.table, other.scale
        return TokenVectors(table, scale, self.count_exponent)

    def to_bytes(self) -> bytes:
        """The content of ``vectors.npz``."""
        buffer = io.BytesIO()
        np.savez(buffer, table=self.table, scale=self.scale, count_exponent=np.float32(self.count_exponent))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> TokenVectors:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: The content is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                table, scale, exponent = (arrays[name] for name in ("table", "scale", "count_exponent"))
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"not an archive of the arrays table, scale and count_exponent ({error})") from error
        if table.ndim != 2 or table.dtype not in (np.int8, np.uint8) or not table.size:
            raise ValueError(f"table is {table.dtype} of shape {table.shape}, expected int8 or uint8 (tokens, d)")
        if scale.shape != table.shape[:1] or not np.isfinite(scale).all() or not np.isfinite(exponent).all():
            raise ValueError("scale needs one finite number per token, and count_exponent one finite number")
        return cls(table, scale.astype(np.float32, copy=False), float(exponent))


class StaticEncoder(FolderEncoder):
    """A folder with ``vectors.npz``, ``tokenizer.json`` and ``encoder.json``.

    Args:
        folder: Where the files are.

    Raises:
        EncoderError: A file is missing or not valid.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        try:
            self.token_vectors = TokenVectors.from_bytes(read_file(self.folder, VECTORS))
        except ValueError as error:
            raise EncoderError(f"{self.folder / VECTORS} can't be read: {error}") from error
        if self.token_vectors.dimension != self.config.dimension:
            raise EncoderError(
                f"{self.folder / VECTORS} has vectors of {self.token_vectors.dimension} numbers, and {CONFIG} says "
                f"dimension {self.config.dimension}: the two files don't belong together"
            )

    @property
    def weights(self) -> bytes:
        """The content of ``vectors.npz``."""
        return self.token_vectors.to_bytes()

    @cached_property
    def tokenizer(self) -> Any:
        """The ``tokenizers.Tokenizer``, which truncates to ``max_tokens``.

        Raises:
            EncoderError: ``tokenizer.json`` is broken, or has more tokens than there are vectors.
        """
        tokenizer = super().tokenizer
        if (size := tokenizer.get_vocab_size()) > len(self.token_vectors):
            raise EncoderError(
                f"{self.folder / TOKENIZER} has {size:,} tokens and {VECTORS} has {len(self.token_vectors):,} vectors: "
                f"the two files don't belong together"
            )
        return tokenizer

    def encode_texts(self, texts: Sequence[str], role: TextRole) -> Vectors:
        """Unit vectors of texts, ``(n, d)``; zeros for a text without a known token."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, tokens in zip(vectors, self.token_ids(texts, role), strict=True):
            row[:] = self.token_vectors.embed(tokens)
        return unit_vectors(vectors, texts, name=self.name)


def write_static_encoder(
    folder: str | Path, config: EncoderConfig, tokenizer: Any, vectors: TokenVectors, *, card: str
) -> Path:
    """Write ``encoder.json``, ``vectors.npz``, ``tokenizer.json`` and the model card ``README.md``.

    Args:
        folder: The folder; created if it does not exist. Existing files of these names are replaced.
        config: Its name, layout and other settings.
        tokenizer: A ``tokenizers.Tokenizer``.
        vectors: One row for each token.
        card: Markdown.

    Returns:
        The folder.
    """
    return write_folder(folder, config, tokenizer, {VECTORS: vectors.to_bytes()}, card=card)
