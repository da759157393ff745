"""The folder of an encoder: ``encoder.json``, ``tokenizer.json``, its weights, and ``README.md``, the model card."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ruie_components.encoders.base import TextEncoder, TextRole, fingerprint
from ruie_components.errors import EncoderError, explain
from ruie_components.files import atomic_write
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout

CONFIG, TOKENIZER, CARD = "encoder.json", "tokenizer.json", "README.md"
GRAPH, VECTORS = "encoder.onnx", "vectors.npz"
"""The weights: an ONNX graph, or static token vectors."""

_CHARACTERS_A_TOKEN = 64  # more than any real text has; a text of 2 MB is not tokenized to its end


class EncoderConfig(BaseModel):
    """The content of ``encoder.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: Annotated[int, Field(gt=0)] = 512
    layout: Layout = Layout.BLOCK
    keywords: KeywordStrategy = KeywordStrategy.PLAIN
    dimension: Annotated[int, Field(gt=0)]
    adapted_from: str | None = None
    """The encoder that was adapted to a pool: ``embedded``, a folder or the name of a checkpoint."""


def read_config(folder: Path) -> EncoderConfig:
    """Read ``encoder.json``.

    Raises:
        EncoderError: It is missing or does not describe an encoder.
    """
    try:
        return EncoderConfig.model_validate_json(read_file(folder, CONFIG))
    except ValidationError as error:
        raise EncoderError(f"{folder / CONFIG} is not the description of an encoder: {explain(error)}") from error


def read_file(folder: Path, name: str) -> bytes:
    """Read a file of an encoder's folder.

    Raises:
        EncoderError: It can't be read.
    """
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise EncoderError(
            f"{folder} is not an exported encoder: {name} can't be read ({error.strerror}). An exported encoder is a "
            f"folder with {CONFIG}, {TOKENIZER} and {GRAPH} or {VECTORS}."
        ) from error


def load_tokenizer(folder: Path, content: bytes, max_tokens: int) -> Any:
    """A ``tokenizers.Tokenizer`` without padding that truncates to ``max_tokens``.

    Args:
        folder: For the error message.
        content: Of ``tokenizer.json``.
        max_tokens: Longer texts are truncated.

    Raises:
        EncoderError: The content is not a tokenizer.
    """
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises bare Exception
        raise EncoderError(f"{folder / TOKENIZER} is not a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def token_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """The tokens of each text, at most ``max_tokens``.

    Args:
        tokenizer: From ``load_tokenizer``.
        texts: The texts; lone surrogates, which the tokenizer refuses, are replaced.
        max_tokens: As for ``load_tokenizer``; it limits the characters that are read.
    """
    limit = max_tokens * _CHARACTERS_A_TOKEN
    read = [text[:limit].encode("utf-8", "replace").decode("utf-8") for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(read)]


def write_folder(
    folder: str | Path, config: EncoderConfig, tokenizer: Any, weights: Mapping[str, bytes], *, card: str
) -> Path:
    """Write the files of an encoder.

    Args:
        folder: The folder; created if it does not exist. Existing files of these names are replaced.
        config: ``encoder.json``.
        tokenizer: A ``tokenizers.Tokenizer``.
        weights: ``GRAPH`` or ``VECTORS``, and its content.
        card: Markdown.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in weights.items():
        atomic_write(folder / name, content)
    atomic_write(folder / TOKENIZER, tokenizer.to_str(pretty=False))
    described = config.model_dump(mode="json", exclude_none=True)
    atomic_write(folder / CONFIG, json.dumps(described, indent=2) + "\n")
    atomic_write(folder / CARD, card)
    return folder


class FolderEncoder(TextEncoder):
    """An encoder in a folder, with its settings, tokenizer and fingerprint.

    Args:
        folder: Where the files are.

    Raises:
        EncoderError: A file is missing or not valid.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config = read_config(self.folder)
        self.name, self.layout, self.keywords = self.config.name, self.config.layout, self.config.keywords
        self._tokenizer_json = read_file(self.folder, TOKENIZER)

    @property
    @abstractmethod
    def weights(self) -> bytes:
        """The content of the weights file."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.config.dimension

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer and settings, without the name."""
        settings = self.config.model_dump(mode="json", exclude={"name", "adapted_from"})
        return fingerprint(settings, self.weights, self._tokenizer_json)

    @cached_property
    def tokenizer(self) -> Any:
        """The ``tokenizers.Tokenizer``, which truncates to ``max_tokens``.

        Raises:
            EncoderError: ``tokenizer.json`` is broken.
        """
        return load_tokenizer(self.folder, self._tokenizer_json, self.config.max_tokens)

    def token_ids(self, texts: Sequence[str], role: TextRole) -> list[list[int]]:
        """The tokens of each text with the prefix of its role, at most ``max_tokens``."""
        prefix = self.config.query_prefix if role == "query" else self.config.passage_prefix
        return token_ids(self.tokenizer, [prefix + text for text in texts], self.config.max_tokens)
