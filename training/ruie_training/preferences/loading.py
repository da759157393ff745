"""Loads the scorer of a recipe's ``[preferences.scorer]``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, assert_never

from ruie_components.keywords import KeywordStrategy
from ruie_components.types import Example
from ruie_training.data.settings import SCRATCH
from ruie_training.errors import TrainingError
from ruie_training.preferences import LabelOverlap, LikelihoodScorer, Scorer
from ruie_training.preferences.settings import LocalModel, NoModel, Outcome, ServedModel

_PROBE = Example.model_validate(
    {
        "task": "NER",
        "text": "Ada slept.",
        "labels": ["person"],
        "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}],
    }
)


def load_scorer(
    settings: LocalModel | ServedModel | Outcome | NoModel,
    keywords: KeywordStrategy = KeywordStrategy.NONE,
    *,
    scratch: Path | None = None,
    rank: int = 0,
) -> Scorer:
    """The scorer of a recipe.

    Args:
        settings: The settings of the scorer.
        keywords: How annotated spans are tagged in its prompts.
        scratch: The folder of the ``scratch`` model.
        rank: The rank of this process, which uses the GPU of that number.

    Raises:
        TrainingError: There is no such model or tokenizer, or the environment variable with the key is not set.
    """
    match settings:
        case LocalModel() | ServedModel():
            return load_likelihood_scorer(settings, keywords, scratch=scratch, rank=rank)
        case Outcome():
            return _outcome(settings)
        case NoModel():
            return LabelOverlap()
    assert_never(settings)


def load_likelihood_scorer(
    settings: LocalModel | ServedModel,
    keywords: KeywordStrategy = KeywordStrategy.NONE,
    *,
    scratch: Path | None = None,
    rank: int = 0,
) -> LikelihoodScorer:
    """A scorer of a recipe with log-likelihoods; arguments and errors as for ``load_scorer``."""
    if isinstance(settings, ServedModel):
        return _served(settings, keywords)
    from ruie_training.preferences.local import LocalScorer

    if settings.model == SCRATCH and scratch is None:
        raise TrainingError(f'[preferences.scorer] model = "{SCRATCH}" needs the stage models')
    return LocalScorer.load(
        scratch if settings.model == SCRATCH and scratch else settings.model,
        precision=settings.precision,
        device=_device(rank),
        batch_tokens=settings.batch_tokens,
        keywords=keywords,
    )


def check_scorer(settings: LocalModel | ServedModel | Outcome | NoModel) -> None:
    """Check that a scorer works, before hours of other work depend on it; a server must return one score.

    Raises:
        TrainingError: There is no such model, the server doesn't answer, or it returns no log-probabilities.
    """
    match settings:
        case ServedModel():
            probe = settings.model_copy(update={"retries": 0, "timeout": min(settings.timeout, 30.0)})
            load_scorer(probe).score([(_PROBE, _PROBE)])
        case Outcome():
            load_scorer(settings).score([(_PROBE, _PROBE)])
        case LocalModel() if settings.model != SCRATCH:
            from ruie_training.preferences.local import check_model

            check_model(settings.model)


def _served(settings: ServedModel, keywords: KeywordStrategy) -> LikelihoodScorer:
    from ruie_training.preferences.served import ServedScorer

    key = os.environ.get(settings.key_variable) if settings.key_variable else None
    if settings.key_variable and not key:
        raise TrainingError(
            f"[preferences.scorer] key_variable names {settings.key_variable}, which is not set in the environment"
        )
    return ServedScorer(
        settings.urls,
        settings.model,
        tokenizer=_tokenizer(settings.tokenizer) if settings.tokenizer else None,
        protocol=settings.protocol,
        api_key=key,
        concurrency=settings.concurrency,
        retries=settings.retries,
        timeout=settings.timeout,
        keywords=keywords,
    )


def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no tokenizer can be loaded from {source} ([preferences.scorer] tokenizer): {error}"
        ) from error


def _device(rank: int) -> str:
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', rank)}" if torch.cuda.is_available() else "cpu"


def _outcome(settings: Outcome) -> Scorer:
    from ruie_components.chat import load_chat_model
    from ruie_training.preferences.outcome import OutcomeScorer

    options = {"base_url": settings.url} if settings.url else {}
    return OutcomeScorer(load_chat_model(settings.model, **options), concurrency=settings.concurrency)
