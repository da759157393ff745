"""What a store needs of an encoder, and what all encoders share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ruie_components.errors import EncoderError
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout

Vectors = NDArray[np.float32]
"""``(n, d)``, one row a text."""


class Encoder(Protocol):
    """Turns texts into unit vectors, queries and passages each in their own way.

    Texts are ``prompts.render_search_query(query, encoder.layout)`` and
    ``prompts.render_passage(example, encoder.keywords, encoder.layout)``. A text in which the encoder knows nothing
    may get a vector of zeros, which is equally far from everything.
    """

    @property
    def name(self) -> str:
        """For people: ``embedded``, a path, a hub name."""

    @property
    def fingerprint(self) -> str:
        """At least 16 hexadecimal digits that change with anything that changes a vector."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def layout(self) -> Layout:
        """How much of a block is read."""

    @property
    def keywords(self) -> KeywordStrategy:
        """How the spans of a passage are tagged."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of queries, ``(n, d)``, of unit length."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, ``(n, d)``, of unit length."""


def unit_vectors(vectors: Any, texts: Sequence[str], *, name: str) -> Vectors:
    """Vectors of unit length from what a model gave; a vector of zeros stays one.

    Args:
        vectors: Anything that makes an array of shape ``(n, d)``.
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
        raise EncoderError(f"encoder {name!r} gave vectors of unequal lengths or no numbers: {error}") from error
    if array.ndim != 2 or len(array) != len(texts) or array.shape[1] == 0:
        raise EncoderError(f"encoder {name!r} gave an array of shape {array.shape} for {len(texts)} texts")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise EncoderError(f"encoder {name!r} gave a vector with NaN or infinity for {texts[bad[0]][:80]!r}")
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
