"""An encoder exported to ONNX; it loads in 0.2 s, without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ruie_components.encoders.base import TextRole, Vectors, unit_vectors
from ruie_components.encoders.folder import CONFIG, GRAPH, FolderEncoder, read_file
from ruie_components.errors import EncoderError

_TOKENS_A_BATCH = 8192  # keeps the largest intermediate array at some 30 MB for vectors of 1,024
_STEP = 16  # lengths are padded to a multiple of this, so that a vector doesn't depend on its neighbours in a batch


class OnnxEncoder(FolderEncoder):
    """An exported encoder: a folder with ``encoder.onnx``, ``tokenizer.json`` and ``encoder.json``.

    The graph takes ``input_ids`` and ``attention_mask``, int64 ``(n, t)``, and returns ``embedding``, float32
    ``(n, d)``, pooled and of unit length.

    Args:
        folder: Where the files are.
        threads: Threads of one forward pass; by default one per core.

    Raises:
        EncoderError: A file is missing or not valid.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None) -> None:
        super().__init__(folder)
        self._graph = read_file(self.folder, GRAPH)
        self._threads = threads or os.cpu_count() or 1

    @property
    def weights(self) -> bytes:
        """The content of ``encoder.onnx``."""
        return self._graph

    def encode_texts(self, texts: Sequence[str], role: TextRole) -> Vectors:
        """Vectors of texts, ``(n, d)``, of unit length; zeros for a text without a token.

        Raises:
            EncoderError: The graph can't be run, or its vectors have another dimension than ``encoder.json`` says.
        """
        tokens = self.token_ids(texts, role)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for batch, length in _batches([len(ids) for ids in tokens]):
            input_ids = np.zeros((len(batch), length), dtype=np.int64)  # (n, t)
            attention_mask = np.zeros_like(input_ids)
            for row, index in enumerate(batch):
                input_ids[row, : len(tokens[index])] = tokens[index]
                attention_mask[row, : len(tokens[index])] = 1
            feed = {"input_ids": input_ids, "attention_mask": attention_mask}
            output = self._session.run(["embedding"], feed)[0]  # (n, d)
            if output.shape != (len(batch), self.dimension):
                raise EncoderError(
                    f"{self.folder / GRAPH} gave vectors of shape {output.shape}, and {CONFIG} says dimension "
                    f"{self.dimension}: the two files don't belong together"
                )
            vectors[batch] = output
        return unit_vectors(vectors, texts, name=self.name)

    @cached_property
    def _session(self) -> Any:
        onnxruntime = quiet_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads give up their core
        options.log_severity_level = 3
        # external weights are read from here; the library refuses paths outside the folder
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.folder))
        try:
            return onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's exceptions share no base class except Exception
            raise EncoderError(f"{self.folder / GRAPH} can't be loaded: {error}") from error


def quiet_onnxruntime() -> Any:
    """The module ``onnxruntime``, with telemetry turned off before its first use."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _batches(lengths: Sequence[int]) -> list[tuple[list[int], int]]:
    """Indices grouped by padded length, shortest first, without texts that have no tokens.

    >>> _batches([3, 40, 0, 5])
    [([0, 3], 16), ([1], 48)]
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        if length:
            by_length.setdefault(-(-length // _STEP) * _STEP, []).append(index)
    batches = []
    for length, indices in sorted(by_length.items()):
        size = max(1, _TOKENS_A_BATCH // length)
        batches += [(indices[start : start + size], length) for start in range(0, len(indices), size)]
    return batches
