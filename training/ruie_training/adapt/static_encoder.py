"""A folder of static token vectors as something that can be changed: read, given label tokens, written again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer

from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import StaticEncoder as EncoderFolder
from ruie_components.encoders.static import TokenVectors, write_static_encoder

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class StaticEncoder:
    """An encoder of static token vectors."""

    config: EncoderConfig
    tokenizer: Any
    """A ``tokenizers.Tokenizer``."""
    vectors: Vectors
    """The tokens' weighted vectors, (tokens, d)."""
    repeats: float


def read_static(encoder: EncoderFolder) -> StaticEncoder:
    """The parts of an encoder of static token vectors."""
    table = encoder.token_vectors
    vectors = table.vectors(np.arange(len(table)))
    return StaticEncoder(encoder.config, encoder.tokenizer, vectors, table.count_exponent)


def with_label_tokens(encoder: StaticEncoder, labels: Iterable[str]) -> StaticEncoder:
    """The encoder with a token of its own for each label as answers write it, ``label:``.

    A label's vector starts as the sum of the vectors of the tokens that it was made of, so that nothing changes yet
    but for repeats; training can then move it without moving the words of the texts.
    """
    written = [f"{label}:" for label in dict.fromkeys(labels)]
    tokenizer: Any = Tokenizer.from_str(encoder.tokenizer.to_str())
    known = tokenizer.get_vocab_size()
    parts = [found.ids[1:] for found in tokenizer.encode_batch_fast(written)]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in written])
    rows = [encoder.vectors]
    for text, ids in zip(written, parts, strict=True):
        if tokenizer.token_to_id(text) >= known:
            rows.append(encoder.vectors[ids].sum(0, keepdims=True))
    vectors = np.concatenate(rows)
    return StaticEncoder(encoder.config, tokenizer, vectors, encoder.repeats)


def write_static(encoder: StaticEncoder, folder: str | Path, *, name: str, card: str, bits: int = 8) -> Path:
    """Write the files of an encoder."""
    config = encoder.config.model_copy(update={"name": name})
    weights = TokenVectors.quantize(encoder.vectors, bits, encoder.repeats)
    return write_static_encoder(folder, config, encoder.tokenizer, weights, card=card)
