"""The encoder protocol, and the base class of encoders that embed texts."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ruie_components import prompts
from ruie_components.errors import EncoderError
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.types import Example, Query

Vectors = NDArray[np.float32]
"""``(n, d)``, one row per text."""


TextRole = Literal["query", "passage"]
"""The side of a search that a text is on; many encoders have a prefix for each."""


class Encoder(Protocol):
    """Turns queries and examples into unit vectors, whose dot product is their similarity.

    The encoder decides which parts of them it reads (layout, keyword tags, prefixes). A text without a known token may
    get a vector of zeros, which is equally far from everything.
    """

    @property
    def name(self) -> str:
        """The name in messages: ``embedded``, a path, a hub name."""

    @property
    def fingerprint(self) -> str:
        """At least 16 hexadecimal digits, which change with everything that changes a vector."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def encode_queries(self, queries: Sequence[Query]) -> Vectors:
        """Vectors of queries, ``(n, d)``, of unit length."""

    def encode_examples(self, examples: Sequence[Example]) -> Vectors:
        """Vectors of examples, ``(n, d)``, of unit length."""


class TextEncoder(ABC):
    """An encoder that renders queries and examples as texts, as the paper does, and embeds the texts.

    A query is rendered as its block, or with ``Layout.INPUT`` as its text alone, without keyword tags and output. An
    example is rendered as its block with tagged spans and its answer (paper, section on distillation).
    """

    name: str
    layout: Layout
    """How much of a block is read."""
    keywords: KeywordStrategy
    """How the spans of examples are tagged."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """At least 16 hexadecimal digits, which change with everything that changes a vector."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The length of a vector."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], role: TextRole) -> Vectors:
        """Unit vectors of texts, ``(n, d)``.

        Args:
            texts: The texts; the prefix of the role is put before each.
            role: Whether they are queries or passages.
        """

    def encode_queries(self, queries: Sequence[Query]) -> Vectors:
        """Vectors of queries, ``(n, d)``, of unit length."""
        return self.encode_texts([self.query_text(query) for query in queries], "query")

    def encode_examples(self, examples: Sequence[Example]) -> Vectors:
        """Vectors of examples, ``(n, d)``, of unit length."""
        return self.encode_texts([self.example_text(example) for example in examples], "passage")

    def query_text(self, query: Query) -> str:
        """The text that is embedded for a query, without its prefix."""
        return prompts.render_search_query(query, self.layout)

    def example_text(self, example: Example) -> str:
        """The text that is embedded for an example, without its prefix."""
        return prompts.render_passage(example, self.keywords, self.layout)


def unit_vectors(vectors: Any, texts: Sequence[str], *, name: str) -> Vectors:
    """A model's vectors, normalized to unit length; vectors of zeros stay zeros.

    Args:
        vectors: Anything that numpy converts to an array of shape ``(n, d)``.
        texts: The ``n`` texts, for the message.
        name: The encoder's name, for the message.

    Raises:
        EncoderError: The shape is wrong, or a number is not finite.

    >>> unit_vectors([[3, 4], [0, 0]], ["a", "b"], name="tiny").tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    try:
        array = np.asarray(vectors)
        array = array if array.dtype == np.float32 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"encoder {name!r} returned vectors of unequal lengths, or no numbers: {error}") from error
    if array.ndim != 2 or len(array) != len(texts) or array.shape[1] == 0:
        raise EncoderError(f"encoder {name!r} returned an array of shape {array.shape} for {len(texts)} texts")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise EncoderError(f"encoder {name!r} returned a vector with NaN or infinity for {texts[bad[0]][:80]!r}")
    lengths = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))[:, None]  # (n, 1)
    factors = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    unit: Vectors = (array * factors.astype(array.dtype)).astype(np.float32, copy=False)
    return unit


def fingerprint(settings: Mapping[str, Any], *parts: bytes) -> str:
    """32 hexadecimal digits over settings and files.

    >>> fingerprint({"a": 1}, b"weights") == fingerprint({"a": 1}, b"weights") != fingerprint({"a": 2}, b"weights")
    True
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]
