"""The stage ``models``: makes every model that a recipe calls ``scratch``, from the training texts alone."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ruie_components import prompts
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates
from ruie_training.preferences import prompt_and_answer
from ruie_training.recipes import Models, StaticModel

if TYPE_CHECKING:
    from ruie_training.pipeline.stages import Context


def make_models(context: Context) -> dict[str, Any]:
    """Make tokenizer, encoder, cross-encoder and language model, as far as the recipe names them."""
    settings = context.recipe.models
    assert settings is not None
    report: dict[str, Any] = {}
    if context.worker.is_first and (settings.encoder or settings.cross_encoder):
        report |= _make_encoders(context, settings)
    if settings.language_model:
        report["language_model"] = _make_language_model(context, settings)
    return report


def _make_encoders(context: Context, settings: Models) -> dict[str, Any]:
    from ruie_training.models import from_scratch as models

    folder, seed = context.folder("models"), context.recipe.seed
    passages = _passages(context)
    tokenizer = models.encoder_tokenizer(passages, settings.vocabulary)
    start = settings.encoder if isinstance(settings.encoder, StaticModel) else StaticModel(kind="static")
    vectors = models.static_vectors(tokenizer, passages, start, seed)
    if isinstance(settings.encoder, StaticModel):
        models.make_static_encoder(folder / "encoder", tokenizer, vectors)
    elif settings.encoder:
        models.make_transformer_encoder(folder / "encoder", tokenizer, settings.encoder, vectors=vectors, seed=seed)
    if settings.cross_encoder:
        models.make_cross_encoder(
            folder / "cross_encoder", tokenizer, settings.cross_encoder, vectors=vectors, seed=seed
        )
    return {"tokens": tokenizer.get_vocab_size(), "texts": len(passages)}


def _passages(context: Context) -> list[str]:
    distilled = context.recipe.distil
    layout = distilled.layout if distilled else Layout.BLOCK
    rows = context.material.pool
    return sorted({prompts.render_passage(example, KeywordStrategy.NONE, layout) for example in rows})


def _make_language_model(context: Context, settings: Models) -> dict[str, float]:
    from ruie_training.models import from_scratch as models

    assert settings.language_model is not None
    texts = demonstrated_prompts(
        context.candidates("mine"),
        context.material.examples,
        limit=settings.language_model.texts,
        seed=context.recipe.seed,
    )
    return models.make_language_model(
        context.folder("models") / "language_model",
        texts,
        settings.language_model,
        vocabulary=settings.vocabulary,
        **context.training_options(),
    )


def demonstrated_prompts(
    candidates: Candidates, examples: Mapping[str, Example], *, limit: int, seed: int
) -> Sequence[str]:
    """Prompts as the language model will score them, each with its answer: one demonstration and one query.

    The demonstration is drawn among the query's candidates, so that the model learns what one is good for.

    Args:
        candidates: From mining.
        examples: Every query and candidate under its ``content_id``.
        limit: How many; queries come several times, with other demonstrations, where there are fewer.
        seed: Of the draws.
    """
    chance = random.Random(seed)  # noqa: S311  a draw, not a secret
    found: list[str] = []
    while len(found) < limit:
        order = list(range(len(candidates)))
        chance.shuffle(order)
        for row in order[: limit - len(found)]:
            query = examples[candidates.query_ids[row]]
            shown = examples[chance.choice(candidates.candidate_ids[row])]
            found.append("".join(prompt_and_answer(([shown], query))))
    return found
