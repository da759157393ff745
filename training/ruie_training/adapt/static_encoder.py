"""A folder of static token vectors as something that can be changed: read, given label tokens, written again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders.onnx import CONFIG, MODEL, TOKENIZER, EncoderConfig
from ruie_training.errors import TrainingError
from ruie_training.onnx_static import quantise, write_encoder

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class StaticEncoder:
    """An encoder of static token vectors, as ``onnx_static.write_encoder`` writes it."""

    config: EncoderConfig
    tokenizer: Any
    """A ``tokenizers.Tokenizer``."""
    vectors: Vectors
    """The tokens' weighted vectors, (tokens, d)."""
    repeats: float
    keyword_weight: float


def is_static(folder: str | Path) -> bool:
    """Whether a folder holds an exported encoder of static token vectors."""
    import onnx

    path = Path(folder) / MODEL
    return path.is_file() and onnx.load(path, load_external_data=False).graph.name == "static"


def read_static(folder: str | Path) -> StaticEncoder:
    """Read what ``onnx_static.write_encoder`` wrote.

    Raises:
        TrainingError: The folder holds another kind of encoder.
    """
    import onnx
    from onnx import numpy_helper
    from tokenizers import Tokenizer

    folder = Path(folder)
    graph = onnx.load(folder / MODEL).graph
    parts = {found.name: numpy_helper.to_array(found) for found in graph.initializer}
    if graph.name != "static" or not {"table", "scale"} <= parts.keys():
        raise TrainingError(f"{folder} holds no encoder of static token vectors")
    table = parts["table"]
    if table.dtype == np.uint8:  # two numbers of 4 bits, 8 above their value
        table = np.concatenate([table & 15, table >> 4], axis=1).astype(np.int8) - 8
    return StaticEncoder(
        EncoderConfig.model_validate_json((folder / CONFIG).read_bytes()),
        Tokenizer.from_file(str(folder / TOKENIZER)),
        table.astype(np.float32) * parts["scale"][:, None].astype(np.float32),
        1.0 + _number(parts.get("power")),
        _number(parts.get("more")),
    )


def _number(found: NDArray[Any] | None) -> float:
    return 0.0 if found is None else float(found.item())


def with_label_tokens(encoder: StaticEncoder, labels: Iterable[str]) -> StaticEncoder:
    """The encoder with a token of its own for each label as answers write it, ``label:``.

    A label's vector starts as the sum of the vectors of the tokens that it was made of, so that nothing changes yet
    but for repeats; training can then move it without moving the words of the texts.
    """
    from tokenizers import AddedToken, Tokenizer

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
    return StaticEncoder(encoder.config, tokenizer, vectors, encoder.repeats, encoder.keyword_weight)


def write_static(encoder: StaticEncoder, folder: str | Path, *, name: str, card: str, bits: int = 8) -> Path:
    """Write the four files of an encoder."""
    weights = quantise(encoder.vectors, bits)
    return write_encoder(
        folder,
        tokenizer=encoder.tokenizer,
        weights=replace(weights, repeats=encoder.repeats, keyword_weight=encoder.keyword_weight),
        layout=encoder.config.layout,
        keywords=encoder.config.keywords,
        card=card,
        name=name,
        max_tokens=encoder.config.max_tokens,
    )
