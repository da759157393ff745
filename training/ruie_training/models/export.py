"""Writes a trained bi-encoder as a folder that ``ruie_components.encoders`` loads without torch.

The graph includes pooling and normalization to unit length.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import Tensor, nn
from torch.nn import functional

from ruie_components.encoders.folder import GRAPH, EncoderConfig, write_folder
from ruie_components.encoders.onnx import quiet_onnxruntime
from ruie_components.progress import quiet
from ruie_training.errors import RunError, TrainingError

OPSET = 18
_UNIT = "unit_vector"
_EXAMPLE = ("Task: Named entity recognition", "Input: a longer text, so that the batch has padding\nOutput:")


class _Static(nn.Module):
    """Maps token ids and mask to the unit vector along the mean of the tokens' vectors."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Embedding(len(table), table.shape[1], _weight=table.detach().clone())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).to(self.vectors.weight.dtype)  # (n, t, 1)
        return functional.normalize((self.vectors(input_ids) * mask).sum(1), dim=-1)


class _Pipeline(nn.Module):
    """Maps token ids and mask through all modules of a SentenceTransformer to a unit vector."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.body = model.transformers_model
        self.rest = nn.ModuleList(list(model)[1:])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        features = {"token_embeddings": hidden, "attention_mask": attention_mask}
        for module in self.rest:
            features = module(features)
        return functional.normalize(features["sentence_embedding"], dim=-1)


def export_encoder(
    model: SentenceTransformer, folder: str | Path, config: EncoderConfig, *, card: str, int8: bool = False
) -> Path:
    """Write the four files of an encoder.

    Args:
        model: A transformer with any pooling, or ``StaticEmbedding``, on the CPU.
        folder: The folder; created if it does not exist. Existing files of these names are replaced.
        config: Name, prefixes, layout and keyword strategy, and the model's dimension.
        card: The model card, Markdown.
        int8: Weights as 8-bit integers.

    Returns:
        The folder.

    Raises:
        TrainingError: Models of this kind can't be exported.
        RunError: A file can't be written.
    """
    model = model.eval()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            graph = _write_graph(model, Path(temporary), int8=int8).read_bytes()
        return write_folder(folder, config, _fast_tokenizer(model), {GRAPH: graph}, card=card)
    except OSError as error:
        raise RunError(f"the encoder can't be written to {folder}: {error}") from error


def _graph_of(model: SentenceTransformer) -> nn.Module:
    first = model[0]
    if isinstance(first, StaticEmbedding):
        return _Static(first.embedding.weight)
    if model.transformers_model is None:
        raise TrainingError(f"only transformers and StaticEmbedding can be exported, not {type(first).__name__}")
    return _Pipeline(model)


def _write_graph(model: SentenceTransformer, folder: Path, *, int8: bool) -> Path:
    graph = _graph_of(model).eval()
    inputs = _example_inputs(model)
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens")
    shape = {0: texts, 1: tokens}
    path = folder / "float32.onnx"
    with quiet("root", "torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
        torch.onnx.export(
            graph,
            inputs,
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=[_UNIT],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _name_output(path)
    return _quantize(path, folder / "int8.onnx") if int8 else path


def _name_output(path: Path) -> None:
    """Name the output ``embedding``, a name that the exporter gives to the look-up of the first layer."""
    import onnx

    model = onnx.load(path)
    names = {"embedding": "looked_up", _UNIT: "embedding"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.value_info, *model.graph.output):
        value.name = names.get(value.name, value.name)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _example_inputs(model: SentenceTransformer) -> tuple[Tensor, Tensor]:
    tokenizer = _fast_tokenizer(model)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(_EXAMPLE))]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def _quantize(source: Path, target: Path) -> Path:
    quiet_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet("root", "torch.onnx", "onnxscript", "onnx_ir"):
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)
    return target


def _fast_tokenizer(model: SentenceTransformer) -> Any:
    """A copy of the model's ``tokenizers.Tokenizer``, without truncation and padding, which the loader sets itself."""
    from tokenizers import Tokenizer

    static = isinstance(model[0], StaticEmbedding)
    own = model[0].tokenizer if static else model.tokenizer.backend_tokenizer
    content = json.loads(own.to_str())
    content |= {"truncation": None, "padding": None}
    if static:
        content["post_processor"] = None  # StaticEmbedding adds no special tokens
    return Tokenizer.from_str(json.dumps(content))


def smallest_cosine(model: SentenceTransformer, folder: str | Path, texts: Sequence[str]) -> float:
    """The smallest cosine between the torch model's and the exported encoder's vectors of the same passages.

    Args:
        model: The exported model.
        folder: Its folder.
        texts: Some passages, shorter than the token limit.

    Returns:
        1 for equal vectors.
    """
    from ruie_components.encoders import load_encoder
    from ruie_components.encoders.base import TextEncoder

    ours = model.encode_document(list(texts), normalize_embeddings=True, show_progress_bar=False)
    encoder = load_encoder(folder)
    assert isinstance(encoder, TextEncoder)  # an exported folder has one
    theirs = encoder.encode_texts(list(texts), "passage")
    return float(np.einsum("nd,nd->n", np.asarray(ours), theirs).min())
