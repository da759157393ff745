"""An encoder made from an object with LangChain's Embeddings interface, without importing LangChain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ruie_components.encoders.base import TextEncoder, TextRole, Vectors, fingerprint, unit_vectors
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout

_MODEL_ATTRIBUTES = ("model", "model_name", "model_id", "deployment", "repo_id", "dimensions")


class EmbeddingsEncoder(TextEncoder):
    """Anything with ``embed_query(text)`` and ``embed_documents(texts)``.

    Its weights are hidden, so the fingerprint covers the class, the model's name, the dimension, layout and keywords: a
    changed model with the same name goes unnoticed.

    Args:
        embeddings: The object.
        name: The name in messages; by default class and model.
        layout: How much of a block is read.
        keywords: How the spans of passages are tagged.
    """

    def __init__(
        self,
        embeddings: Any,
        *,
        name: str | None = None,
        layout: Layout | str = Layout.BLOCK,
        keywords: KeywordStrategy | str = KeywordStrategy.PLAIN,
    ) -> None:
        self.embeddings = embeddings
        self.layout = Layout(layout)
        self.keywords = KeywordStrategy(keywords)
        self._model = [
            f"{attribute}={value}"
            for attribute in _MODEL_ATTRIBUTES
            if isinstance(value := getattr(embeddings, attribute, None), str | int)
        ]
        self.name = name or " ".join([type(embeddings).__name__, *self._model])

    @cached_property
    def dimension(self) -> int:
        """The length of a vector; the first use embeds one text."""
        return len(self.embeddings.embed_query("dimension"))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of class, model name, dimension, layout and keywords."""
        kind = f"{type(self.embeddings).__module__}.{type(self.embeddings).__qualname__}"
        return fingerprint(
            {
                "class": kind,
                "model": self._model,
                "dimension": self.dimension,
                "layout": self.layout,
                "keywords": self.keywords,
            }
        )

    def encode_texts(self, texts: Sequence[str], role: TextRole) -> Vectors:
        """Unit vectors of texts, ``(n, d)``; the interface takes one query per call."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        if role == "query":
            return unit_vectors([self.embeddings.embed_query(text) for text in texts], texts, name=self.name)
        return unit_vectors(self.embeddings.embed_documents(list(texts)), texts, name=self.name)
