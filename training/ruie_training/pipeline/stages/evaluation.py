"""The stage ``evaluate``: measures retrieval by labels and optionally by the likelihood of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruie_training.data.catalog import DataError, DataSet, choose, measurable
from ruie_training.evaluation.settings import Evaluate
from ruie_training.models.settings import Export
from ruie_training.pipeline.context import ENCODER, UNTRAINED, Context, hash_sets
from ruie_training.pipeline.stage import Report, Stage
from ruie_training.preferences import LikelihoodScorer
from ruie_training.preferences.loading import load_likelihood_scorer
from ruie_training.preferences.settings import LocalModel, Preferences, ServedModel
from ruie_training.recipes import Recipe


class EvaluationStage(Stage[Evaluate]):
    """Compares the trained and the untrained encoder with random rows, BM25 and the oracle."""

    name = "evaluate"
    settings_type = Evaluate
    reads = ("export", "models")

    def content(self, recipe: Recipe) -> dict[str, Any]:
        """Its section, and that of the LLM for likelihoods."""
        preferences = recipe.section(Preferences)
        return {**super().content(recipe), "preferences": preferences.content() if preferences else None}

    def data_hash(self, context: Context) -> str:
        """The evaluation rows."""
        return hash_sets(self.sets(context))

    def sets(self, context: Context) -> list[DataSet]:
        """The evaluation sets.

        Raises:
            DataError: No set meets the conditions; the message says which condition, and what to change.
        """
        settings = self.settings(context.recipe)
        roles = None if settings.sets else settings.roles
        try:
            return choose(
                measurable(context.all_sets),
                names=settings.sets,
                roles=roles,
                tasks=settings.tasks,
                purpose="section [evaluate] of the recipe",
            )
        except DataError as error:
            raise DataError(
                f'{error}. Set [evaluate] roles = ["held-in"] to measure on dev splits, or drop = ["evaluate"]'
            ) from error

    def validate(self, recipe: Recipe) -> None:
        """Likelihoods need an LLM with log-probabilities."""
        preferences = recipe.section(Preferences)
        can = preferences is not None and isinstance(preferences.scorer, LocalModel | ServedModel)
        if self.settings(recipe).likelihood and not can:
            raise ValueError(
                "[evaluate] likelihood = true needs an LLM for log-likelihoods: add [preferences.scorer] with "
                'kind = "local" or "served"'
            )

    def run(self, context: Context) -> Report:
        """Measure, write the tables, and put the figures into the model card."""
        from ruie_training.evaluation.retrieval import evaluate
        from ruie_training.evaluation.tables import AVERAGE, rows, table, write_results
        from ruie_training.models.model_card import add_figures

        settings, sets = self.settings(context.recipe), self.sets(context)
        figures = evaluate(
            sets,
            _retrievers(context),
            (settings.k,),
            queries=settings.queries,
            seed=context.recipe.seed,
            llm=_likelihood_scorer(context) if settings.likelihood else None,
            llm_queries=settings.likelihood_queries,
            progress=context.progress,
        )
        write_results(figures, context.folder(self.name))
        if context.recipe.section(Export):
            add_figures(context.folder("export") / ENCODER, table(figures, settings.k))
        averages = rows([figure for figure in figures if figure.dataset == AVERAGE])
        return {"sets": [dataset.name for dataset in sets], "averages": averages}


def _likelihood_scorer(context: Context) -> LikelihoodScorer | None:
    """The recipe's LLM, without keyword tags."""
    preferences = context.recipe.section(Preferences)
    if preferences is None or not isinstance(preferences.scorer, LocalModel | ServedModel):
        return None
    scratch = context.folder("models") / "language_model" / "model"
    return load_likelihood_scorer(preferences.scorer, scratch=scratch, rank=context.process.rank)


def _retrievers(context: Context) -> Mapping[str, Any]:
    from ruie_components.encoders import load_encoder
    from ruie_training.evaluation.rankers import by_each_method, in_every_table, rank_by_encoder

    encoders = {"untrained": UNTRAINED, "trained": ENCODER} if context.recipe.section(Export) else {}
    retrievers: dict[str, Any] = {}
    for name, folder in encoders.items():
        retrievers |= by_each_method(name, rank_by_encoder(load_encoder(context.folder("export") / folder)))
    return in_every_table(retrievers, seed=context.recipe.seed)
