"""Writes an encoder of static token vectors as a folder that ``ruie_components.encoders`` loads. No torch needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.keywords import CLOSE, OPEN, KeywordStrategy
from ruie_components.prompts import Layout

OPSET = 18
IR_VERSION = 8


@dataclass(frozen=True)
class StaticWeights:
    """A token's vector is ``table[token] * scale[token]``; a text's is the unit vector along the sum of its tokens'.

    A token between keyword tags counts ``1 + keyword_weight`` times, and one that stands c times in a text counts
    ``c ** repeats`` times in all.
    """

    table: NDArray[np.int8]
    """(tokens, dimension), within -7 to 7 for 4 bits and -127 to 127 for 8."""
    scale: NDArray[np.float32]
    """(tokens,): the token's weight times the step of its row's quantisation."""
    bits: int = 8
    """4 or 8: what a number of the table takes in the file. 4 needs an even dimension."""
    keyword_weight: float = 0.0
    repeats: float = 1.0

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.table.shape[1])


def quantise(vectors: NDArray[np.float32], bits: int = 8) -> StaticWeights:
    """Every row as integers of 4 or 8 bits with its own step: its largest absolute value becomes 7 or 127.

    Raises:
        ValueError: Other bits, or 4 with an odd dimension.
    """
    if bits not in (4, 8) or (bits == 4 and vectors.shape[1] % 2):
        raise ValueError(f"vectors of {vectors.shape[1]} numbers can't be kept in {bits} bits: 8, or 4 if even")
    scale = np.abs(vectors).max(1) / np.float32(2 ** (bits - 1) - 1)
    steps = vectors / np.where(scale > 0, scale, 1)[:, None]
    return StaticWeights(np.rint(steps).astype(np.int8), scale.astype(np.float32), bits)


def static_graph(weights: StaticWeights, tokens: dict[str, int]) -> Any:
    """The ONNX model: look up, weigh, sum, normalise.

    Inputs ``input_ids`` and ``attention_mask`` are int64 (n, t); the output ``embedding`` is float32 (n, d).

    Args:
        weights: The quantised vectors.
        tokens: The ids of the two keyword tags, by their text.

    Returns:
        An ``onnx.ModelProto``.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    node = helper.make_node
    constants = {
        "scale": weights.scale,
        "middle": np.array([1], np.int64),
        "last": np.array([2], np.int64),
        "tiny": np.array(1e-12, np.float32),
    }
    nodes = [
        node("Gather", ["scale", "input_ids"], ["scales"]),  # (n, t)
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Mul", ["scales", "mask"], ["plain"]),
    ]
    weight = "plain"
    if weights.keyword_weight:
        nodes += [
            *_between_tags(constants, tokens, weights.keyword_weight),
            node("Mul", [weight, "between"], ["tagged"]),
        ]
        weight = "tagged"
    if weights.repeats != 1:
        nodes += [*_repeats(constants, weights.repeats), node("Mul", [weight, "rarity"], ["sparing"])]
        weight = "sparing"
    nodes += [
        node("Unsqueeze", [weight, "middle"], ["weights"]),  # (n, 1, t)
        *_sums(constants, weights),
        node("Squeeze", ["sums", "middle"], ["sum"]),
        node("ReduceL2", ["sum", "middle"], ["length"], keepdims=1),
        node("Max", ["length", "tiny"], ["divisor"]),
        node("Div", ["sum", "divisor"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "static",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", weights.dimension])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="ruie_training"
    )
    checker.check_model(model)
    return model


def _sums(constants: dict[str, Any], weights: StaticWeights) -> list[Any]:
    """Nodes for ``sums``, (n, 1, d): the weighted steps of all tokens, added up."""
    from onnx import TensorProto, helper

    node = helper.make_node
    if weights.bits == 8:
        constants["table"] = weights.table
        return [
            node("Gather", ["table", "input_ids"], ["steps"]),
            node("Cast", ["steps"], ["rows"], to=TensorProto.FLOAT),  # (n, t, d)
            node("MatMul", ["weights", "rows"], ["sums"]),
        ]
    above = (weights.table + 8).astype(np.uint8)  # 1 to 15
    low, high = np.split(above, 2, axis=1)
    constants |= {
        "table": low | high << 4,
        "four": np.array(4, np.uint8),
        "fifteen": np.array(15, np.uint8),
        "eight": np.array(8, np.float32),
    }
    # Joining the halves and taking the 8 away comes last, where it costs a row a text and not a row a token.
    return [
        node("Gather", ["table", "input_ids"], ["pairs"]),  # (n, t, d / 2)
        node("BitwiseAnd", ["pairs", "fifteen"], ["low"]),
        node("BitShift", ["pairs", "four"], ["high"], direction="RIGHT"),
        node("Cast", ["low"], ["low_rows"], to=TensorProto.FLOAT),
        node("Cast", ["high"], ["high_rows"], to=TensorProto.FLOAT),
        node("MatMul", ["weights", "low_rows"], ["low_sums"]),  # (n, 1, d / 2)
        node("MatMul", ["weights", "high_rows"], ["high_sums"]),
        node("Concat", ["low_sums", "high_sums"], ["above"], axis=2),
        node("ReduceSum", ["weights", "last"], ["weight"], keepdims=1),  # (n, 1, 1)
        node("Mul", ["weight", "eight"], ["excess"]),
        node("Sub", ["above", "excess"], ["sums"]),
    ]


def _between_tags(constants: dict[str, Any], tokens: dict[str, int], keyword_weight: float) -> list[Any]:
    """Nodes for ``between``, (n, t): 1, and more between the tags."""
    from onnx import TensorProto, helper

    node = helper.make_node
    constants |= {
        "open": np.array(tokens[OPEN], np.int64),
        "close": np.array(tokens[CLOSE], np.int64),
        "along": np.array(1, np.int64),
        "more": np.array(keyword_weight, np.float32),
        "one": np.array(1, np.float32),
    }
    return [
        node("Equal", ["input_ids", "open"], ["is_open"]),
        node("Equal", ["input_ids", "close"], ["is_close"]),
        node("Cast", ["is_open"], ["opened"], to=TensorProto.FLOAT),
        node("Cast", ["is_close"], ["closed"], to=TensorProto.FLOAT),
        node("Sub", ["opened", "closed"], ["change"]),
        node("CumSum", ["change", "along"], ["depth"]),  # 1 between the tags, 0 elsewhere
        node("Mul", ["depth", "more"], ["extra"]),
        node("Add", ["extra", "one"], ["between"]),
    ]


def _repeats(constants: dict[str, Any], repeats: float) -> list[Any]:
    """Nodes for ``rarity``, (n, t): how often the token stands in its text, to the power ``repeats - 1``."""
    from onnx import TensorProto, helper

    node = helper.make_node
    constants |= {
        "power": np.array(repeats - 1, np.float32),
        "least": np.array(1, np.float32),
    }
    return [
        node("Unsqueeze", ["input_ids", "last"], ["down"]),  # (n, t, 1)
        node("Unsqueeze", ["input_ids", "middle"], ["across"]),  # (n, 1, t)
        node("Equal", ["down", "across"], ["same"]),  # (n, t, t)
        node("Cast", ["same"], ["ones"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["masks"]),
        node("MatMul", ["ones", "masks"], ["counted"]),  # (n, t, 1); padding counts nothing
        node("Squeeze", ["counted", "last"], ["counts"]),
        node("Max", ["counts", "least"], ["often"]),
        node("Pow", ["often", "power"], ["rarity"]),
    ]


def write_encoder(
    folder: str | Path,
    *,
    tokenizer: Any,
    weights: StaticWeights,
    layout: Layout,
    keywords: KeywordStrategy,
    card: str,
    name: str = "embedded",
    max_tokens: int = 512,
) -> Path:
    """Write ``encoder.onnx``, ``tokenizer.json``, ``encoder.json`` and ``README.md``.

    Args:
        folder: Made where it is absent; the four files are replaced.
        tokenizer: A ``tokenizers.Tokenizer`` that holds the keyword tags as special tokens.
        weights: The token vectors.
        layout: How much of a block the encoder reads.
        keywords: How its passages are tagged.
        card: The model card, Markdown.
        name: For people.
        max_tokens: Longer texts are cut.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tags = {tag: tokenizer.token_to_id(tag) for tag in (OPEN, CLOSE)}
    (folder / "encoder.onnx").write_bytes(static_graph(weights, tags).SerializeToString(deterministic=True))
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False), "utf-8")
    description = {
        "name": name,
        "query_prefix": "",
        "passage_prefix": "",
        "max_tokens": max_tokens,
        "layout": str(layout),
        "keywords": str(keywords),
        "dimension": weights.dimension,
    }
    (folder / "encoder.json").write_text(json.dumps(description, indent=2) + "\n", "utf-8")
    (folder / "README.md").write_text(card, "utf-8")
    return folder
