"""What is adapted: an encoder that can be trained on some rows of a pool, compared with its start, and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ruie_components import prompts
from ruie_training.adapt.pool import Pool, Rows
from ruie_training.adapt.static_encoder import StaticEncoder, with_label_tokens, write_static
from ruie_training.adapt.static_training import StaticTraining, train_vectors
from ruie_training.adapt.teachers import Teacher
from ruie_training.static.bags import Bags, bag_texts

Vectors = NDArray[np.float32]
Advance = Callable[[int], None]


class Student(Protocol):
    """An encoder to be adapted to a pool."""

    shares: Sequence[float]
    """How much of the way from the start to the trained weights may be gone; the cross-validation chooses."""
    folds: int
    """Trainings that the cross-validation may take, at most."""
    steps: int
    """Of one training, for a progress bar."""

    def train(self, rows: Rows, advance: Advance) -> Any:
        """Weights trained on these rows of the pool."""
        ...

    def encode(self, trained: Any, share: float, asked: Rows, shown: Rows) -> tuple[Vectors, Vectors]:
        """Vectors of queries and passages; share 0 is the start, whatever was trained."""
        ...

    def write(self, trained: Any, share: float, folder: Path, *, name: str, card: str) -> Path:
        """Write the encoder as a folder that ``ruie_components.encoders`` loads."""
        ...


class StaticStudent:
    """Static token vectors.

    Args:
        encoder: The start.
        pool: The pool.
        teacher: What is learned.
        settings: The numbers of the training.
    """

    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
    folds = 5

    def __init__(self, encoder: StaticEncoder, pool: Pool, teacher: Teacher, settings: StaticTraining) -> None:
        self._encoder = with_label_tokens(encoder, pool.written_labels)
        self._pool, self._teacher, self._settings = pool, teacher, settings
        self.steps = settings.steps
        config = encoder.config
        queries = [prompts.render_search_query(example.query, config.layout) for example in pool.examples]
        passages = [prompts.render_passage(each, config.keywords, config.layout) for each in pool.examples]
        queries = [config.query_prefix + text for text in queries]
        passages = [config.passage_prefix + text for text in passages]
        read = [
            bag_texts(self._encoder.tokenizer, queries, config.max_tokens),
            bag_texts(self._encoder.tokenizer, passages, config.max_tokens),
            bag_texts(encoder.tokenizer, passages, config.max_tokens),
        ]
        # The pool's tokens are some thousands of many more, so all work is done with them alone.
        self._tokens = np.unique(np.concatenate([bags.tokens for bags in read]))
        self._vectors = self._encoder.vectors[self._tokens]
        self._queries, self._passages, self._passages_before = (
            replace(bags, tokens=np.searchsorted(self._tokens, bags.tokens)) for bags in read
        )

    def train(self, rows: Rows, advance: Advance) -> Vectors:
        """The vectors of the pool's tokens, (tokens, d)."""
        return train_vectors(
            self._vectors,
            self._pool,
            self._queries,
            self._passages,
            self._teacher,
            self._settings,
            repeats=self._encoder.repeats,
            rows=rows,
            advance=advance,
        )

    def encode(self, trained: Vectors, share: float, asked: Rows, shown: Rows) -> tuple[Vectors, Vectors]:
        """Vectors of queries and passages, (rows, d)."""
        passages = self._passages if share else self._passages_before  # at the start there are no label tokens
        vectors = self._between(trained, share)
        repeats = self._encoder.repeats
        return (
            _encode(self._queries.take(asked), vectors, repeats),
            _encode(passages.take(shown), vectors, repeats),
        )

    def write(self, trained: Vectors, share: float, folder: Path, *, name: str, card: str) -> Path:
        """Write the four files, with vectors of 8 bits."""
        vectors = self._encoder.vectors.copy()
        vectors[self._tokens] = self._between(trained, share)
        return write_static(replace(self._encoder, vectors=vectors), folder, name=name, card=card)

    def _between(self, trained: Vectors, share: float) -> Vectors:
        return np.asarray(self._vectors + np.float32(share) * (trained - self._vectors), np.float32)


def _encode(texts: Bags, vectors: Vectors, repeats: float) -> Vectors:
    matrix = csr_matrix((texts.times(repeats), texts.tokens, texts.ends), (len(texts), len(vectors)))
    sums = matrix @ vectors
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0), np.float32)
