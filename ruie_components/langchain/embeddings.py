"""An encoder as LangChain Embeddings."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from ruie_components.encoders import TextEncoder


class RUIEEmbeddings(Embeddings):
    """Embeds with the encoder of this package: texts as passages, a query as a query.

    Args:
        encoder: An encoder, such as ``store.encoder`` or ``load_encoder()``.

    A pool's vectors come from blocks with keyword tags (``prompts.render_passage``). Of plain texts the vectors are
    still useful, but not the ones a store holds.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Unit vectors of texts, each of ``encoder.dimension`` numbers."""
        if not texts:
            return []
        return [[float(number) for number in vector] for vector in self.encoder.encode_texts(texts, "passage")]

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of a query."""
        return [float(number) for number in self.encoder.encode_texts([text], "query")[0]]
