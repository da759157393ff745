"""The judge that a recipe names: what scores the candidates of the stage ``preferences``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from ruie_components.keywords import KeywordStrategy
from ruie_training.data.candidates import Candidates
from ruie_training.errors import TrainingError
from ruie_training.preferences import LabelAgreement, LikelihoodScorer, Scorer, choose_candidates, prefer
from ruie_training.recipes import SCRATCH, LocalModel, NoModel, Outcome, Preferences, ServedModel

if TYPE_CHECKING:
    from ruie_training.pipeline.stages import Context

Judge = Callable[[Candidates], Candidates]


def make_judge(context: Context, settings: Preferences) -> Judge:
    """A function that scores some candidates of every query, or with ``bm25`` keeps BM25's own scores."""
    chosen: dict[str, Any] = {
        "per_query": settings.per_query,
        "choose": settings.choose,
        "seed": context.recipe.seed,
    }
    if isinstance(settings.by, NoModel) and settings.by.scorer == "bm25":
        return lambda part: choose_candidates(part, **chosen)
    scorer = make_scorer(context, settings)
    examples = context.material.examples
    return lambda part: prefer(part, examples, scorer, may_be_empty=True, progress=context.progress, **chosen)


def make_scorer(context: Context, settings: Preferences) -> Scorer:
    """The scorer of a recipe, its model loaded.

    Raises:
        TrainingError: There is no such model or tokenizer, or no such variable with a key.
    """
    match settings.by:
        case LocalModel():
            return _local(context, settings.by, settings.keywords)
        case ServedModel():
            return _served(settings.by, settings.keywords)
        case Outcome():
            return _outcome(settings.by)
        case NoModel():
            return LabelAgreement()
    assert_never(settings.by)


def make_evaluator(context: Context) -> LikelihoodScorer | None:
    """The recipe's LLM as the evaluation asks it, without keyword tags; None where the evaluation asks none."""
    settings, preferences = context.recipe.evaluate, context.recipe.preferences
    if settings is None or preferences is None or not settings.likelihood:
        return None
    match preferences.by:
        case LocalModel():
            return _local(context, preferences.by, KeywordStrategy.NONE)
        case ServedModel():
            return _served(preferences.by, KeywordStrategy.NONE)
    return None


def _local(context: Context, by: LocalModel, keywords: KeywordStrategy) -> LikelihoodScorer:
    from ruie_training.preferences.local import LocalScorer

    scratch = context.folder("models") / "language_model" / "model"
    return LocalScorer.load(
        scratch if by.model == SCRATCH else by.model,
        precision=by.precision,
        device=_device(context),
        batch_tokens=by.batch_tokens,
        keywords=keywords,
    )


def _served(by: ServedModel, keywords: KeywordStrategy) -> LikelihoodScorer:
    from ruie_training.preferences.served import ServedScorer

    return ServedScorer(
        by.urls,
        by.model,
        tokenizer=_tokenizer(by.tokenizer) if by.tokenizer else None,
        protocol=by.protocol,
        api_key=_key(by.key_variable) if by.key_variable else None,
        concurrency=by.concurrency,
        retries=by.retries,
        timeout=by.timeout,
        keywords=keywords,
    )


def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no tokenizer can be loaded from {source} ([preferences.by] tokenizer): {error}"
        ) from error


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise TrainingError(f"[preferences.by] key_variable names {variable}, which is not set in the environment")
    return key


def _device(context: Context) -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', context.worker.rank)}"


def _outcome(by: Outcome) -> Scorer:
    from ruie_components.chat import load_chat_model
    from ruie_training.preferences.outcome import OutcomeScorer

    return OutcomeScorer(load_chat_model(f"ollama:{by.model}", base_url=by.url), concurrency=by.concurrency)
