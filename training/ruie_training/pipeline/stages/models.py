"""The stage ``models``: makes every ``scratch`` model of a recipe from the training texts only."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ruie_components import prompts
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates
from ruie_training.models.settings import Distil, Models, StaticModel
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.sources import check_source
from ruie_training.pipeline.speed import PROMPT_TOKENS, SHARED_TOKENS, trained_queries, transformer_parameters
from ruie_training.pipeline.stage import Estimate, Report, Stage, Workload
from ruie_training.preferences.scorer import prompt_and_answer
from ruie_training.recipes import Recipe


class ModelsStage(Stage[Models]):
    """Trains tokenizers and a small language model, and makes untrained encoders."""

    name = "models"
    settings_type = Models
    reads = ("mine",)
    shared = True

    def content(self, recipe: Recipe) -> dict[str, Any]:
        """Its section, and the layout of the encoder's texts."""
        return {**super().content(recipe), "layout": _layout(recipe)}

    def check(self, context: Context) -> None:
        """The teacher of the token vectors must exist, and this machine must have the language model's precision."""
        from ruie_training.models.trainers import check_precision

        settings = self.settings(context.recipe)
        if settings.language_model:
            check_precision(settings.language_model.optimisation, f"{self.name}.language_model.optimisation")
        encoder = settings.encoder
        if isinstance(encoder, StaticModel) and encoder.teacher:
            check_source(encoder.teacher.model, "[models.encoder.teacher] model")

    def estimate(self, work: Workload) -> Estimate:
        """Tokens of the language model's training; texts if there is none."""
        settings = self.settings(work.recipe)
        model = settings.language_model
        if model is None:
            return Estimate(work.pool, "texts", work.pool * 1e-3)
        tokens = trained_queries(model.optimisation) * (PROMPT_TOKENS + SHARED_TOKENS)
        seconds = 6 * tokens * transformer_parameters(model, settings.vocabulary) / work.speed
        return Estimate(tokens, "tokens", seconds)

    def run(self, context: Context) -> Report:
        """Make tokenizer, encoder, cross-encoder and language model, if the recipe has them."""
        settings = self.settings(context.recipe)
        report: Report = {}
        if context.process.is_first and (settings.encoder or settings.cross_encoder):
            report |= _make_encoders(context, settings)
        if settings.language_model:
            report["language_model"] = _make_language_model(context, settings)
        return report


def _layout(recipe: Recipe) -> Layout:
    distil = recipe.section(Distil)
    return distil.layout if distil else Layout.BLOCK


def _make_encoders(context: Context, settings: Models) -> Report:
    from ruie_training.models import from_scratch

    folder, seed = context.folder("models"), context.recipe.seed
    layout = _layout(context.recipe)
    passages = sorted(
        {prompts.render_passage(example, KeywordStrategy.NONE, layout) for example in context.material.pool}
    )
    tokenizer = from_scratch.encoder_tokenizer(passages, settings.vocabulary)
    start = settings.encoder if isinstance(settings.encoder, StaticModel) else StaticModel(kind="static")
    vectors = from_scratch.static_vectors(tokenizer, passages, start, seed)
    if isinstance(settings.encoder, StaticModel):
        from_scratch.make_static_encoder(folder / "encoder", tokenizer, vectors)
    elif settings.encoder:
        from_scratch.make_transformer_encoder(
            folder / "encoder", tokenizer, settings.encoder, vectors=vectors, seed=seed
        )
    if settings.cross_encoder:
        from_scratch.make_cross_encoder(
            folder / "cross_encoder", tokenizer, settings.cross_encoder, vectors=vectors, seed=seed
        )
    return {"tokens": tokenizer.get_vocab_size(), "texts": len(passages)}


def _make_language_model(context: Context, settings: Models) -> dict[str, float]:
    from ruie_training.models import from_scratch

    assert settings.language_model is not None
    texts = demonstrated_prompts(
        context.candidates("mine"),
        context.material.examples,
        limit=settings.language_model.texts,
        seed=context.recipe.seed,
    )
    return from_scratch.make_language_model(
        context.folder("models") / "language_model",
        texts,
        settings.language_model,
        vocabulary=settings.vocabulary,
        **context.training_options(),
    )


def demonstrated_prompts(
    candidates: Candidates, examples: Mapping[str, Example], *, limit: int, seed: int
) -> Sequence[str]:
    """Prompts with one demonstration and one query, as the language model will score them, with answers.

    The demonstration is drawn from the query's candidates, so that the model learns to use one.

    Args:
        candidates: From mining.
        examples: Every query and candidate by ``content_id``.
        limit: How many prompts. If there are fewer queries, they repeat with other demonstrations.
        seed: Of the draws.
    """
    chance = random.Random(seed)  # noqa: S311  a draw, not a secret
    texts: list[str] = []
    while len(texts) < limit:
        order = list(range(len(candidates)))
        chance.shuffle(order)
        for row in order[: limit - len(texts)]:
            query = examples[candidates.query_ids[row]]
            demonstration = examples[chance.choice(candidates.candidate_ids[row])]
            texts.append("".join(prompt_and_answer(([demonstration], query))))
    return texts
