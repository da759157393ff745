"""An encoder as a LlamaIndex embedding."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import BaseEmbedding

from ruie_components.encoders import TextEncoder


class RUIEEmbedding(BaseEmbedding):
    """A LlamaIndex embedding by an encoder of this package, for your own index: texts are embedded as passages.

    A pool's vectors come from blocks with keyword tags (``prompts.render_passage``). Vectors of plain texts are useful,
    but differ from those in a store.

    Args:
        encoder: From ``load_encoder``, or a store's ``encoder``.
        kwargs: Arguments of ``BaseEmbedding``.
    """

    _encoder: TextEncoder = PrivateAttr()

    def __init__(self, encoder: TextEncoder, **kwargs: Any) -> None:
        super().__init__(model_name=encoder.name, **kwargs)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """The name of the class in LlamaIndex."""
        return "RUIEEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(number) for number in self._encoder.encode_texts([query], "query")[0]]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(number) for number in vector] for vector in self._encoder.encode_texts(texts, "passage")]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
