"""An encoder as LangChain Embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from ruie_components.encoders import TextEncoder


class RUIEEmbeddings(Embeddings):
    """LangChain Embeddings by an encoder of this package: documents as passages, queries as queries.

    Args:
        encoder: An encoder, such as ``store.encoder`` or ``load_encoder()``.

    A pool's vectors come from blocks with keyword tags (``prompts.render_passage``). Vectors of plain texts are useful,
    but differ from those in a store.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Unit vectors of texts, each with ``encoder.dimension`` numbers."""
        if not texts:
            return []
        return [[float(number) for number in vector] for vector in self.encoder.encode_texts(texts, "passage")]

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of a query."""
        return [float(number) for number in self.encoder.encode_texts([text], "query")[0]]
