"""The reward model: a cross-encoder that learns an LLM's preferences and scores every candidate.

It reads the query with its gold output and the candidate with its output, with keyword tags around annotated spans on
both sides (paper, section on the keyword-enhanced reward model).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import ListNetLoss

from ruie_components.keywords import CLOSE, OPEN, KeywordStrategy
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates
from ruie_training.data.groups import GroupRows, Groups, split_by_score
from ruie_training.data.rendering import passage_of
from ruie_training.errors import TrainingError
from ruie_training.models.settings import Reward
from ruie_training.models.trainers import WithoutCard, callbacks, dataset_of, train, training_arguments

__all__ = [
    "add_keyword_tokens",
    "check_positions",
    "count_cut_pairs",
    "load_cross_encoder",
    "score_candidates",
    "split_by_score",
    "train_reward",
]

_NO_TOKEN_TYPES = {"model_input_names": ["input_ids", "attention_mask"]}  # none for the paper's ELECTRA


class _Trainer(WithoutCard, CrossEncoderTrainer):  # type: ignore[misc]  # sentence-transformers is not typed here
    pass


def load_cross_encoder(
    source: str | Path, *, keywords: KeywordStrategy, max_length: int = 512, seed: int = 987
) -> CrossEncoder:
    """Load a cross-encoder with one output for training.

    Args:
        source: A path or a hub name.
        keywords: With any strategy except ``none`` the two tags become tokens.
        max_length: Tokens of query and candidate together; longer pairs are truncated, the longer side first.
        seed: Of weights that the checkpoint lacks: a head, vectors of new tokens.

    Raises:
        TrainingError: There is no such model, or it has fewer positions than ``max_length``.
    """
    torch.manual_seed(seed)
    try:
        model = CrossEncoder(str(source), num_labels=1, max_length=max_length, processor_kwargs=dict(_NO_TOKEN_TYPES))
    except (OSError, ValueError) as error:
        raise TrainingError(f"no cross-encoder can be loaded from {source}: {error}") from error
    check_positions(model, max_length, str(source))
    if keywords is not KeywordStrategy.NONE:
        add_keyword_tokens(model)
    return model


def check_positions(model: torch.nn.Module, max_length: int, source: str) -> None:
    """Check that a model with position embeddings has one for each token of the longest text.

    Args:
        model: A ``CrossEncoder`` or ``SentenceTransformer``.
        max_length: Tokens of the longest text.
        source: Its path or hub name, for the error message.

    Raises:
        TrainingError: It has too few; the first batch with a longer text would fail.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from the padding on
            if max_length > module.num_embeddings - first:
                raise TrainingError(
                    f"{source} reads at most {module.num_embeddings - first} tokens, and max_length is {max_length}: "
                    "lower max_length, or take another model"
                )


def add_keyword_tokens(model: Any) -> int:
    """Add the keyword tags as tokens, with new rows in the embeddings.

    Args:
        model: A ``CrossEncoder`` or ``SentenceTransformer`` whose first module is a transformer.

    Returns:
        The number of new tokens.
    """
    added = int(model.tokenizer.add_tokens([OPEN, CLOSE]))
    if added:
        model.transformers_model.resize_token_embeddings(len(model.tokenizer))
    return added


def train_reward(
    model: CrossEncoder,
    preferences: Candidates,
    examples: Mapping[str, Example],
    settings: Reward,
    folder: Path,
    *,
    seed: int = 987,
    metrics: Path | None = None,
    progress: bool = True,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train on groups of the LLM's preferences, by softmax cross-entropy of the positive.

    Args:
        model: From ``load_cross_encoder``; it is trained in place and saved to ``folder / "model"``.
        preferences: Candidates with the LLM's scores.
        examples: Every query and candidate by ``content_id``.
        settings: Groups, rendering and optimisation.
        folder: The folder of checkpoints; training resumes from the last one.
        seed: Of the random draws and the order.
        metrics: A JSONL file to append to.
        progress: Show a bar on stderr.
        tensorboard: Also log for TensorBoard.

    Returns:
        ``queries``, ``dropped`` by reason, ``steps``, ``seconds``, ``loss``.

    Raises:
        TrainingError: Too few queries or candidates, or the loss is not a number.
    """
    groups = Groups.of(preferences, **settings.groups.model_dump(), seed=seed)
    text = passage_of(examples, settings.keywords, settings.layout)
    rows = GroupRows(groups, text, text, hard=True)
    arguments = CrossEncoderTrainingArguments(
        **training_arguments(settings.optimisation, folder, seed=seed, tensorboard=tensorboard),
        # DDP does not search the BatchEncoding of ListNetLoss for tensors: it would treat all parameters as unused
        ddp_find_unused_parameters=False,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=dataset_of(rows, settings.optimisation.batch_size),
        loss=ListNetLoss(model, mini_batch_size=-1),  # all pairs of a batch at once, one softmax per query
        callbacks=callbacks("reward", metrics=metrics, progress=progress, rows=rows),
    )
    result = train(trainer)
    if trainer.is_world_process_zero():
        model.save_pretrained(str(folder / "model"), create_model_card=False)
    return {"queries": len(groups), "dropped": dict(groups.dropped), **result}


def count_cut_pairs(
    model: CrossEncoder, candidates: Candidates, examples: Mapping[str, Example], settings: Reward
) -> int:
    """The number of pairs with more than ``settings.max_length`` tokens, whose longer side is truncated."""
    text = passage_of(examples, settings.keywords, settings.layout)
    names = sorted({*candidates.query_ids, *(name for ids in candidates.candidate_ids for name in ids)})
    encoded = model.tokenizer([text(name) for name in names], add_special_tokens=False, verbose=False)["input_ids"]
    lengths = dict(zip(names, map(len, encoded), strict=True))
    room = settings.max_length - model.tokenizer.num_special_tokens_to_add(pair=True)
    return sum(lengths[query] + lengths[name] > room for query, ids, _ in candidates for name in ids)


def score_candidates(
    model: CrossEncoder, candidates: Candidates, examples: Mapping[str, Example], settings: Reward
) -> Candidates:
    """The reward model's raw score of every pair, best first.

    Raises:
        TrainingError: A score is not a finite number.
    """
    text = passage_of(examples, settings.keywords, settings.layout)
    pairs = [(text(query), text(name)) for query, ids, _ in candidates for name in ids]
    flat = model.predict(
        pairs, batch_size=settings.score_batch, activation_fn=torch.nn.Identity(), show_progress_bar=False
    )
    values = np.asarray(flat, np.float64)
    if not np.isfinite(values).all():
        raise TrainingError(
            "the reward model returns scores that are not finite: train it again with a lower learning rate"
        )
    ends = np.cumsum([0, *(len(ids) for ids in candidates.candidate_ids)])
    ranked_ids, ranked_scores = [], []
    for ids, start, end in zip(candidates.candidate_ids, ends[:-1], ends[1:], strict=True):
        order = np.argsort(-values[start:end], kind="stable")
        ranked_ids.append(tuple(ids[i] for i in order))
        ranked_scores.append(tuple(float(values[start + i]) for i in order))
    return Candidates(candidates.query_ids, tuple(ranked_ids), tuple(ranked_scores), "reward", candidates.dropped)
