"""Token vectors from a pre-trained sentence encoder, which encodes each token of a vocabulary separately.

model2vec makes static encoders in this way: the teacher's vector of a token, its principal components, and a weight
that falls with the token's frequency. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.progress import track
from ruie_training.errors import TrainingError
from ruie_training.models.settings import VocabularyTeacher

Vectors = NDArray[np.float32]

_BATCH = 1024
_MIN_KNOWN = 0.5  # share of the training texts' tokens; below it the teacher is for another language


def join_teacher(
    vectors: Vectors, idf: Vectors, counts: Any, tokenizer: Any, settings: VocabularyTeacher, *, progress: bool = False
) -> Vectors:
    """Token vectors before their weights, joined with those of a teacher, (tokens, d + dimensions).

    Args:
        vectors: (tokens, d), at unit length; their weights are the inverse document frequencies.
        idf: From ``token_vectors.inverse_document_frequency``, (tokens,).
        counts: Token bags of the training texts, CSR (texts, tokens).
        tokenizer: A ``tokenizers.Tokenizer`` of byte-level BPE.
        settings: The teacher and the numbers.
        progress: Show a bar on stderr.

    Raises:
        TrainingError: As ``teacher_vectors``.
    """
    frequencies = np.asarray(counts.sum(0), np.float64).ravel()
    part = teacher_vectors(tokenizer, frequencies, settings, progress=progress)
    # The teacher's part has its own weights: the later factor of both parts is divided out here.
    scale = np.divide(settings.weight * idf.max(), idf, out=np.zeros_like(idf), where=idf > 0)
    return np.concatenate([vectors, part * scale[:, None]], axis=1)


def teacher_vectors(
    tokenizer: Any, frequencies: NDArray[Any], settings: VocabularyTeacher, *, progress: bool = False
) -> Vectors:
    """The vectors of all tokens by a teacher, (tokens, dimensions), weighted by their frequency.

    The vectors are centred, the first ``dropped`` principal components are left out (Mu and Viswanath 2018), and the
    next ``dimensions`` are kept, scaled to unit length. A token of relative frequency p is multiplied by
    ``a / (a + p)``, where a is ``smoothing`` (smooth inverse frequency, Arora et al. 2017). A token unknown to the
    teacher, such as a word of another script, has zeros.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` of byte-level BPE.
        frequencies: How often each token occurs in the training texts, (tokens,).
        settings: The teacher and the numbers.
        progress: Show a bar on stderr.

    Raises:
        TrainingError: There is no such teacher, it can't be used, its vectors are too short or not finite, or it knows
            less than half of the tokens of the training texts.
    """
    teacher = load_teacher(settings.model)
    texts = token_texts(tokenizer)
    known = known_texts(teacher, texts)
    share = frequencies[known].sum() / max(frequencies.sum(), 1)
    if share < _MIN_KNOWN:
        raise TrainingError(
            f"the teacher {settings.model} knows {share:.0%} of the tokens of the training texts: take one that was "
            "trained on their language"
        )
    vectors = np.zeros((len(texts), settings.dimensions), np.float32)
    chosen = [text for text, is_known in zip(texts, known, strict=True) if is_known]
    vectors[known] = principal_components(embed(teacher, chosen, settings.model, progress=progress), settings)
    weights = settings.smoothing / (settings.smoothing + frequencies / max(frequencies.sum(), 1))
    return np.asarray(vectors * weights[:, None], np.float32)


def load_teacher(source: str | Path) -> Any:
    """Load a sentence encoder as a teacher.

    Args:
        source: A folder or a hub name.

    Returns:
        A ``sentence_transformers.SentenceTransformer``.

    Raises:
        TrainingError: There is no such model, it reads no texts, or its file lacks some of its weights, which would
            then be random: a checkpoint of another architecture.
    """
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    try:
        teacher = SentenceTransformer(str(source), device="cpu")
        missing: Sequence[str] = ()
        if teacher.transformers_model is not None:
            loading = AutoModel.from_pretrained(str(source), output_loading_info=True)[1]
            missing = sorted(name for name in loading["missing_keys"] if "pooler" not in name)  # unused here
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise TrainingError(f"no sentence encoder can be loaded from {source}: {error}") from error
    if missing:
        raise TrainingError(
            f"{source} lacks {len(missing)} of the weights that its config.json asks for, such as {missing[0]}: "
            "the two are of different architectures"
        )
    return teacher


def token_texts(tokenizer: Any) -> list[str]:
    """The text of each token for a teacher; empty for special tokens and parts of characters.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` of byte-level BPE.
    """
    from tokenizers.decoders import ByteLevel

    decoder, special = ByteLevel(), tokenizer.get_added_tokens_decoder()
    texts = [""] * tokenizer.get_vocab_size()
    for token, i in tokenizer.get_vocab().items():
        if i not in special:
            text = decoder.decode([token]).strip()
            texts[i] = "" if "\N{REPLACEMENT CHARACTER}" in text else text
    return texts


def known_texts(teacher: Any, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the teacher's tokenizer knows any token of each text, (texts,)."""
    known = np.array([bool(text) for text in texts])
    unknown = getattr(teacher.tokenizer, "unk_token_id", None)
    if unknown is not None and known.any():
        rows = np.flatnonzero(known)
        read = teacher.tokenizer([texts[int(row)] for row in rows], add_special_tokens=False)["input_ids"]
        known[rows] = [any(token != unknown for token in tokens) for tokens in read]
    return known


def embed(teacher: Any, texts: Sequence[str], name: str, *, progress: bool = False) -> Vectors:
    """The teacher's unit vectors of texts, (texts, d).

    Raises:
        TrainingError: Some are not finite.
    """
    parts = []
    with track("embedding the vocabulary", total=len(texts), enabled=progress) as advance:
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            part = np.asarray(teacher.encode(batch, batch_size=256, normalize_embeddings=True, show_progress_bar=False))
            wrong = np.flatnonzero(~np.isfinite(part).all(1))
            if len(wrong):
                raise TrainingError(
                    f"the teacher {name} returned no finite vectors for {len(wrong)} of {len(batch)} tokens, such as "
                    f"{batch[wrong[0]]!r}: check its weights"
                )
            parts.append(part.astype(np.float32))
            advance(len(batch))
    return np.concatenate(parts)


def principal_components(vectors: Vectors, settings: VocabularyTeacher) -> Vectors:
    """Principal components of centred vectors without the first ones, at unit length, (n, dimensions).

    Raises:
        TrainingError: There are too few components.
    """
    wanted = settings.dropped + settings.dimensions
    if wanted > min(vectors.shape):
        raise TrainingError(
            f"{len(vectors):,} vectors of {vectors.shape[1]} numbers have {min(vectors.shape)} principal components, "
            f"and dropped + dimensions is {wanted}: lower the teacher's dimensions"
        )
    centred = vectors - vectors.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # ascending
    chosen = directions[:, ::-1][:, settings.dropped : wanted]
    parts = centred @ (chosen * np.sign(chosen[np.abs(chosen).argmax(0), np.arange(chosen.shape[1])]))
    lengths = np.linalg.norm(parts, axis=1, keepdims=True)
    return np.asarray(np.divide(parts, lengths, out=np.zeros_like(parts), where=lengths > 0), np.float32)
