"""Encoders, from text to unit vector: embedded, exported, sentence-transformers checkpoints, LangChain Embeddings."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from ruie_components.encoders.base import Encoder, TextEncoder, TextRole, Vectors
from ruie_components.encoders.embeddings import EmbeddingsEncoder
from ruie_components.encoders.folder import CONFIG, VECTORS
from ruie_components.encoders.onnx import OnnxEncoder
from ruie_components.encoders.sentence_transformers import SentenceTransformersEncoder
from ruie_components.encoders.static import StaticEncoder
from ruie_components.errors import EncoderError

__all__ = [
    "EMBEDDED",
    "EmbeddingsEncoder",
    "Encoder",
    "OnnxEncoder",
    "SentenceTransformersEncoder",
    "StaticEncoder",
    "TextEncoder",
    "TextRole",
    "Vectors",
    "load_encoder",
]


EMBEDDED = "embedded"
"""The name of the encoder in the package."""


def load_encoder(source: Any = None, **options: Any) -> Encoder:
    """Load an encoder.

    Args:
        source: ``None`` or ``"embedded"``: the embedded one. A folder with ``encoder.json``: an exported one. Another
            folder or a hub name: a sentence-transformers checkpoint (extra ``[train]``). An object with
            ``embed_documents`` and ``embed_query``: LangChain Embeddings. An encoder is returned unchanged.
        **options: Keyword options of ``OnnxEncoder``, ``SentenceTransformersEncoder`` or ``EmbeddingsEncoder``.

    Raises:
        EncoderError: There is no such encoder, or the object is not an encoder.
        ImportError: The extra ``[train]`` is needed and not installed.
    """
    if source is None or (isinstance(source, str) and source == EMBEDDED):
        source = Path(str(files("ruie_components"))) / "assets" / "encoder"
    if isinstance(source, str | Path):
        if (Path(source) / CONFIG).is_file():
            kind: Any = StaticEncoder if (Path(source) / VECTORS).is_file() else OnnxEncoder
            exported: Encoder = kind(source, **options)
            return exported
        if isinstance(source, Path) and not source.is_dir():
            raise EncoderError(f"there is no folder {source} to load an encoder from")
        return SentenceTransformersEncoder(source, **options)
    if hasattr(source, "encode_queries") and hasattr(source, "encode_examples"):
        if options:
            raise EncoderError(f"options {sorted(options)} can't be given to a loaded encoder")
        encoder: Encoder = source
        return encoder
    if hasattr(source, "embed_documents") and hasattr(source, "embed_query"):
        return EmbeddingsEncoder(source, **options)
    raise EncoderError(
        f"expected an encoder, got {type(source).__name__}: give a folder, a hub name, LangChain Embeddings, or None "
        f"for the embedded one"
    )
