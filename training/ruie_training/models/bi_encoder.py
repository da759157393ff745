"""Distillation: trains a bi-encoder to score like the teacher (paper, section on distillation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer

from ruie_components.encoders import EMBEDDED, StaticEncoder, load_encoder
from ruie_components.keywords import KeywordStrategy
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates
from ruie_training.data.groups import GroupRows, Groups
from ruie_training.data.rendering import passage_of, search_query_of
from ruie_training.errors import TrainingError
from ruie_training.models.cross_encoder import add_keyword_tokens, check_positions
from ruie_training.models.losses import RUIEDistillationLoss
from ruie_training.models.settings import Distil
from ruie_training.models.trainers import WithoutCard, callbacks, dataset_of, train, training_arguments


class _Trainer(WithoutCard, SentenceTransformerTrainer):  # type: ignore[misc]  # sentence-transformers is not typed here
    pass


def load_bi_encoder(source: str | Path, settings: Distil, *, seed: int = 123) -> SentenceTransformer:
    """Load a bi-encoder for training: a sentence-transformers checkpoint, or a plain transformer with mean pooling.

    Args:
        source: A folder or a hub name, or ``embedded`` for the token vectors of the encoder in the package. As a
            starting point, these count a repeated token fully, without the package's count exponent.
        settings: With any keyword strategy except ``none`` the two tags become tokens.
        seed: Of the vectors of new tokens.

    Raises:
        TrainingError: There is no such model, or it has fewer positions than ``max_length`` of the settings.
    """
    torch.manual_seed(seed)
    try:
        model = _embedded() if str(source) == EMBEDDED else SentenceTransformer(str(source))
    except (OSError, ValueError) as error:
        raise TrainingError(f"no encoder can be loaded from {source}: {error}") from error
    if isinstance(model[0], StaticEmbedding):  # has no maximum length itself, but the exported encoder will
        model[0].tokenizer.enable_truncation(settings.max_length)
    if model.transformers_model is not None:
        check_positions(model, settings.max_length, str(source))
        model.max_seq_length = settings.max_length
        if settings.keywords is not KeywordStrategy.NONE:
            add_keyword_tokens(model)
    return model


def _embedded() -> SentenceTransformer:
    """The token vectors of the encoder in the package, at a mean length of 1."""
    encoder = load_encoder()
    if not isinstance(encoder, StaticEncoder):
        raise TrainingError("the encoder in the package has no token vectors to start from")
    vectors = encoder.token_vectors.vectors(np.arange(len(encoder.token_vectors)))
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    tokenizer.no_padding()
    scaled = vectors / np.linalg.norm(vectors, axis=1).mean()
    modules = [StaticEmbedding(tokenizer, embedding_weights=scaled), Normalize()]
    return SentenceTransformer(modules=modules, device="cpu")


def freeze_positions(model: SentenceTransformer) -> int:
    """Freeze the position embeddings.

    Returns:
        The number of frozen parameters; 0 for a model without position embeddings.
    """
    frozen = 0
    for name, parameter in model.named_parameters():
        if "position_embeddings" in name:
            parameter.requires_grad_(False)
            frozen += parameter.numel()
    return frozen


def prefixes(settings: Distil) -> dict[str, str]:
    """The prefix of each column of a training row, and of both sides at inference."""
    negatives = (f"negative_{i}" for i in range(1, settings.groups.size))
    named = {
        "query": settings.query_prefix,
        **dict.fromkeys(("document", "positive", *negatives), settings.passage_prefix),
    }
    return {name: prefix for name, prefix in named.items() if prefix}


def train_bi_encoder(
    model: SentenceTransformer,
    teacher: Candidates,
    examples: Mapping[str, Example],
    settings: Distil,
    folder: Path,
    *,
    seed: int = 123,
    metrics: Path | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Distil the teacher's scores into the bi-encoder.

    Args:
        model: From ``load_bi_encoder``; it is trained in place and saved to ``folder / "model"``.
        teacher: Candidates with the teacher's raw scores.
        examples: Every query and candidate by ``content_id``.
        settings: Groups, rendering, loss and optimisation.
        folder: The folder of checkpoints; training resumes from the last one.
        seed: Of the random draws and the order.
        metrics: A JSONL file to append to.
        progress: Show a bar on stderr.
        tensorboard: Also log for TensorBoard.

    Returns:
        ``queries``, ``dropped`` by reason, ``frozen`` parameters, ``steps``, ``seconds``, ``loss``.

    Raises:
        TrainingError: Too few queries or candidates, or the loss is not a number.
    """
    scaled = tuple(tuple(score * settings.teacher_scale for score in scores) for scores in teacher.scores)
    groups = Groups.of(replace(teacher, scores=scaled), **settings.groups.model_dump(), seed=seed)
    query_text = search_query_of(examples, settings.layout)
    rows = GroupRows(groups, query_text, passage_of(examples, settings.keywords, settings.layout))
    frozen = freeze_positions(model) if settings.freeze_positions else 0
    prompts = prefixes(settings)
    model.prompts = {name: prompts.get(name, "") for name in ("query", "document")}
    arguments = SentenceTransformerTrainingArguments(
        **training_arguments(settings.optimisation, folder, seed=seed, tensorboard=tensorboard, prompts=prompts)
    )
    loss = RUIEDistillationLoss(
        model,
        temperature=settings.temperature,
        weight=settings.contrastive_weight,
        divergence_weight=settings.divergence_weight,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=dataset_of(rows, settings.optimisation.batch_size),
        loss=loss,
        callbacks=callbacks("distil", metrics=metrics, progress=progress, rows=rows),
    )
    result = train(trainer)
    if trainer.is_world_process_zero():
        model.save_pretrained(str(folder / "model"), create_model_card=False)
    return {"queries": len(groups), "dropped": dict(groups.dropped), "frozen": frozen, **result}
