"""An encoder from a sentence-transformers checkpoint or hub name; the only module here that loads torch."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ruie_components.encoders.base import TextEncoder, TextRole, Vectors, fingerprint, unit_vectors
from ruie_components.errors import EncoderError
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout

Pooling = Literal["mean", "cls", "max", "lasttoken"]

_QUERY_PROMPTS = ("query",)
_PASSAGE_PROMPTS = ("document", "passage", "positive")  # the names that checkpoints and trainers use

_BGE = "Represent this sentence for searching relevant passages: "
_FAMILIES = {
    re.compile(r"(multilingual-)?e5-(small|base|large)(-v2)?"): ("query: ", "passage: "),
    re.compile(r"bge-(small|base|large)-en(-v1\.5)?"): (_BGE, ""),
}
"""Prefixes for queries and passages from the model cards of known families, by the last part of the name."""


class SentenceTransformersEncoder(TextEncoder):
    """Any sentence-transformers checkpoint. Needs the extra ``[train]``.

    Args:
        source: A folder or a hub name, such as ``intfloat/e5-base-v2``.
        query_prefix: Put before queries. By default the checkpoint's own prompt named ``query``; without prompts, the
            prefix of E5 and English BGE models, recognized by their names; else none.
        passage_prefix: Put before passages. By default the checkpoint's own prompt named ``document``, ``passage``
            or ``positive``; else as for queries.
        pooling: How token vectors become one. By default as the checkpoint says, else the mean.
        layout: How much of a block is read.
        keywords: How the spans of passages are tagged.
        max_tokens: Texts are truncated to it. By default the checkpoint's limit.
        batch_size: Texts of one forward pass; they are sorted by length.
        device: ``cpu``, ``cuda`` ... By default the best one available.

    Raises:
        ImportError: The extra is not installed.
        EncoderError: There is no such checkpoint.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        pooling: Pooling | None = None,
        layout: Layout | str = Layout.BLOCK,
        keywords: KeywordStrategy | str = KeywordStrategy.PLAIN,
        max_tokens: int | None = None,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self.name = str(source)
        self.layout = Layout(layout)
        self.keywords = KeywordStrategy(keywords)
        self._batch_size = batch_size
        self.model = _load(self.name, pooling, device)
        if max_tokens is not None:
            self.model.max_seq_length = max_tokens
        self.query_prefix = self._prompt(_QUERY_PROMPTS) if query_prefix is None else query_prefix
        self.passage_prefix = self._prompt(_PASSAGE_PROMPTS) if passage_prefix is None else passage_prefix

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector."""
        model = self.model
        ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        return int(ask() or self.encode_texts(["one"], "query").shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer, pooling, prefixes, layout and keywords."""
        weights = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            weights.update(memoryview(tensor.detach().cpu().float().contiguous().numpy()).cast("B"))
        settings = {
            "modules": [f"{type(module).__name__} {_settings(module)}" for module in self.model],
            "max_tokens": self.model.max_seq_length,
            "prefixes": [self.query_prefix, self.passage_prefix],
            "layout": self.layout,
            "keywords": self.keywords,
        }
        return fingerprint(settings, weights.digest(), _tokenizer_bytes(self.model.tokenizer))

    def encode_texts(self, texts: Sequence[str], role: TextRole) -> Vectors:
        """Vectors of texts, ``(n, d)``, of unit length."""
        prefix = self.query_prefix if role == "query" else self.passage_prefix
        if not texts:
            return unit_vectors([[0.0] * self.dimension], [""], name=self.name)[:0]
        vectors = self.model.encode(
            [prefix + text for text in texts],
            prompt="",  # the texts already have their prefixes; this prevents a default prompt in addition
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return unit_vectors(vectors, texts, name=self.name)

    def _prompt(self, names: Sequence[str]) -> str:
        prompts = {name: prompt for name, prompt in (self.model.prompts or {}).items() if prompt}
        if not prompts:
            return known_prefixes(self.name)[0 if names == _QUERY_PROMPTS else 1]
        return next((prompts[name] for name in names if name in prompts), "")


def known_prefixes(source: str) -> tuple[str, str]:
    """The prefixes of queries and passages for a checkpoint of a known family, else empty.

    >>> known_prefixes("intfloat/e5-base-v2")
    ('query: ', 'passage: ')
    """
    name = Path(source).name.lower()
    return next((prefixes for pattern, prefixes in _FAMILIES.items() if pattern.fullmatch(name)), ("", ""))


def _load(source: str, pooling: Pooling | None, device: str | None) -> Any:
    try:
        import sentence_transformers
    except ImportError as error:
        raise ImportError(
            f"encoder {source!r} needs sentence-transformers and torch: pip install 'ruie-components[train]'"
        ) from error
    folder = Path(source)
    if folder.is_dir():
        _check_modules(folder)
    try:
        model = sentence_transformers.SentenceTransformer(
            source, device=device, trust_remote_code=False, local_files_only=folder.is_dir()
        )
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        raise EncoderError(
            f"encoder {source!r} can't be loaded: it is neither an exported encoder (a folder with encoder.json), nor "
            f"a sentence-transformers folder, nor the name of a model on a reachable hub. {error}"
        ) from error
    if pooling is not None:
        _set_pooling(model, source, pooling)
    return model.eval()


def _check_modules(folder: Path) -> None:
    """Refuse a folder whose ``modules.json`` names classes from outside sentence-transformers."""
    path = folder / "modules.json"
    if not path.is_file():
        return
    try:
        kinds = [str(module["type"]) for module in json.loads(path.read_bytes())]
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderError(f"{path} is not a list of modules: {error}") from error
    foreign = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
    if foreign:
        raise EncoderError(f"{path} names {foreign[0]!r}: only modules of sentence-transformers are loaded")


def _set_pooling(model: Any, source: str, pooling: Pooling) -> None:
    # looked up by name and built by position, since its module and its arguments' names have changed
    indices = [i for i, module in enumerate(model) if type(module).__name__ == "Pooling"]
    if not indices:
        raise EncoderError(f"encoder {source!r} has no pooling of token vectors to set to {pooling!r}")
    old = model[indices[0]]
    width = getattr(old, "embedding_dimension", None) or old.word_embedding_dimension
    model[indices[0]] = type(old)(width, pooling).to(model.device)


def _settings(module: Any) -> dict[str, Any]:
    get = getattr(module, "get_config_dict", None)
    return dict(get()) if get else {}


def _tokenizer_bytes(tokenizer: Any) -> bytes:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        return str(backend.to_str()).encode()
    return repr(sorted(tokenizer.get_vocab().items())).encode()
