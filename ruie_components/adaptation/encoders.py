"""Adaptable encoders: they can be trained on rows of a pool, compared with their start, and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ruie_components.adaptation.pool import Pool, Rows
from ruie_components.adaptation.teachers import Teacher
from ruie_components.adaptation.token_bags import select_tokens, token_bags
from ruie_components.adaptation.training import StaticTraining, train_vectors
from ruie_components.encoders import StaticEncoder
from ruie_components.encoders.folder import load_tokenizer
from ruie_components.encoders.static import TokenVectors, write_static_encoder

Vectors = NDArray[np.float32]
Advance = Callable[[int], None]


class AdaptableEncoder(Protocol):
    """An encoder that can be adapted to a pool."""

    interpolation_weights: Sequence[float]
    """Candidate weights of the interpolation from the start to the trained weights; the cross-validation chooses."""
    folds: int
    """The maximum number of trainings in the cross-validation."""
    steps: int
    """Steps of one training, for a progress bar."""

    def train(self, rows: Rows, advance: Advance) -> Any:
        """Weights trained on these rows of the pool."""
        ...

    def encode(self, trained: Any, weight: float, queries: Rows, passage_rows: Rows) -> tuple[Vectors, Vectors]:
        """Vectors of queries and passages; interpolation weight 0 is the start, regardless of ``trained``."""
        ...

    def write(self, trained: Any, weight: float, folder: Path, *, name: str, adapted_from: str, card: str) -> Path:
        """Write the encoder as a folder that ``ruie_components.encoders`` loads."""
        ...


class AdaptableStaticEncoder:
    """Static token vectors, with an additional token for each label as written in answers, ``label:``.

    A label's vector starts as the sum of its original tokens' vectors, so at first only repeats make a difference;
    training can then move it without moving the words of texts.

    Args:
        encoder: The start.
        pool: The pool.
        teacher: The teacher of the training.
        settings: The numbers of the training.
    """

    interpolation_weights: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
    folds = 5

    def __init__(self, encoder: StaticEncoder, pool: Pool, teacher: Teacher, settings: StaticTraining) -> None:
        self._encoder, self._pool, self._teacher, self._settings = encoder, pool, teacher, settings
        self.steps = settings.steps
        self._tokenizer, added = with_label_tokens(encoder, pool.written_labels)
        config = encoder.config
        queries = [config.query_prefix + encoder.query_text(example.query) for example in pool.examples]
        passages = [config.passage_prefix + encoder.example_text(example) for example in pool.examples]
        exponent = encoder.token_vectors.count_exponent
        bags = [
            token_bags(tokenizer, texts, config.max_tokens, exponent)
            for tokenizer, texts in (
                (self._tokenizer, queries),
                (self._tokenizer, passages),
                (encoder.tokenizer, passages),
            )
        ]
        # The pool uses only some thousands of all tokens, so the work is restricted to them.
        self._tokens = np.unique(np.concatenate([bag.indices for bag in bags])).astype(np.int64)
        self._queries, self._passages, self._passages_before = (select_tokens(bag, self._tokens) for bag in bags)
        known = self._tokens < len(encoder.token_vectors)
        self._start = np.empty((len(self._tokens), encoder.dimension), np.float32)
        self._start[known] = encoder.token_vectors.vectors(self._tokens[known])
        self._start[~known] = added[self._tokens[~known] - len(encoder.token_vectors)]
        self._added = added

    def train(self, rows: Rows, advance: Advance) -> Vectors:
        """The vectors of the pool's tokens, (tokens, d)."""
        return train_vectors(
            self._start,
            self._pool,
            self._queries,
            self._passages,
            self._teacher,
            self._settings,
            rows=rows,
            advance=advance,
        )

    def encode(self, trained: Vectors, weight: float, queries: Rows, passage_rows: Rows) -> tuple[Vectors, Vectors]:
        """Vectors of queries and passages, (rows, d)."""
        passages = self._passages if weight else self._passages_before  # at the start there are no label tokens
        vectors = self._between(trained, weight)
        return _unit_rows(self._queries[queries] @ vectors), _unit_rows(passages[passage_rows] @ vectors)

    def write(self, trained: Vectors, weight: float, folder: Path, *, name: str, adapted_from: str, card: str) -> Path:
        """Write the folder, with vectors of 8 bits."""
        vectors = self._encoder.token_vectors.widen(TokenVectors.quantize(self._added))
        vectors = vectors.replace(self._tokens, self._between(trained, weight))
        config = self._encoder.config.model_copy(update={"name": name, "adapted_from": adapted_from})
        return write_static_encoder(folder, config, self._tokenizer, vectors, card=card)

    def _between(self, trained: Vectors, weight: float) -> Vectors:
        return np.asarray(self._start + np.float32(weight) * (trained - self._start), np.float32)


def with_label_tokens(encoder: StaticEncoder, labels: Sequence[str]) -> tuple[Any, Vectors]:
    """The encoder's tokenizer with a token for each label as written in answers, and the vectors of these tokens.

    Returns:
        A ``tokenizers.Tokenizer``, and the vectors of its new tokens, (new, d).
    """
    from tokenizers import AddedToken

    config = encoder.config
    written = [f"{label}:" for label in dict.fromkeys(labels)]
    tokenizer = load_tokenizer(encoder.folder, encoder.tokenizer.to_str().encode(), config.max_tokens)
    size = len(encoder.token_vectors)
    known = tokenizer.get_vocab_size()
    parts = [encoding.ids for encoding in tokenizer.encode_batch_fast(written, add_special_tokens=False)]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in written])
    rows = [
        encoder.token_vectors.vectors(np.array(ids, np.int64)).sum(0)
        for text, ids in zip(written, parts, strict=True)
        if tokenizer.token_to_id(text) >= known
    ]
    added = np.zeros((tokenizer.get_vocab_size() - size, encoder.dimension), np.float32)
    added[known - size :] = np.array(rows, np.float32).reshape(-1, encoder.dimension)
    return tokenizer, added


def _unit_rows(sums: Vectors) -> Vectors:
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0), np.float32)
