"""The stage ``preferences``: a score for some candidates of every query (paper, pipeline step 2)."""

from __future__ import annotations

from ruie_training.data.candidates import Candidates
from ruie_training.data.settings import SCRATCH
from ruie_training.models.settings import Models
from ruie_training.pipeline.context import CANDIDATES, Context
from ruie_training.pipeline.shards import score_in_shards
from ruie_training.pipeline.speed import PROMPT_TOKENS, parameters
from ruie_training.pipeline.stage import Estimate, Report, Stage, Workload
from ruie_training.pipeline.stages.mining import MINED_KEYS, mined_per_query
from ruie_training.preferences import check_scored, choose_candidates, label_f1_of_ends, prefer
from ruie_training.preferences.loading import check_scorer, load_scorer
from ruie_training.preferences.settings import LocalModel, NoModel, Preferences
from ruie_training.recipes import Recipe

SCORED_KEYS = f"per_query of [preferences] and {MINED_KEYS}"
"""The keys that determine ``scored_per_query``, for error messages."""

SHARD_PAIRS = 1000
"""About how many pairs an interrupted run loses: a quarter of an hour of a small LLM on a CPU."""


class PreferencesStage(Stage[Preferences]):
    """Scores candidates by an LLM or by label F1, or keeps BM25's scores."""

    name = "preferences"
    settings_type = Preferences
    reads = ("mine", "models")
    shared = True

    def validate(self, recipe: Recipe) -> None:
        """A language model from scratch needs its section."""
        scorer, models = self.settings(recipe).scorer, recipe.section(Models)
        scratch = isinstance(scorer, LocalModel) and scorer.model == SCRATCH
        if scratch and (models is None or models.language_model is None):
            raise ValueError(f'[preferences.scorer] has model = "{SCRATCH}": add a section [models.language_model]')

    def check(self, context: Context) -> None:
        """The scorer's model must exist and return scores."""
        check_scorer(self.settings(context.recipe).scorer)

    def estimate(self, work: Workload) -> Estimate:
        """The number of pairs; seconds unless a server determines them."""
        settings, models = self.settings(work.recipe), work.recipe.section(Models)
        pairs = work.queries * scored_per_query(work.recipe)
        seconds = None
        if isinstance(settings.scorer, NoModel):
            seconds = pairs * 1e-5
        elif isinstance(settings.scorer, LocalModel):
            scorer = settings.scorer
            size = parameters(scorer.model, scorer.parameters, models.language_model if models else None)
            seconds = pairs * PROMPT_TOKENS * 2 * size / work.speed
        return Estimate(pairs, "pairs", seconds)

    def run(self, context: Context) -> Report:
        """Score in shards, which an interrupted run does not repeat."""
        folder = context.folder(self.name)
        settings, examples, seed = self.settings(context.recipe), context.material.examples, context.recipe.seed

        if isinstance(settings.scorer, NoModel) and settings.scorer.kind == "bm25":

            def score(shard: Candidates) -> Candidates:
                return choose_candidates(shard, per_query=settings.per_query, choose=settings.choose, seed=seed)
        else:
            scorer = load_scorer(
                settings.scorer,
                settings.keywords,
                scratch=context.folder("models") / "language_model" / "model",
                rank=context.process.rank,
            )

            def score(shard: Candidates) -> Candidates:
                return prefer(
                    shard,
                    examples,
                    scorer,
                    per_query=settings.per_query,
                    choose=settings.choose,
                    seed=seed,
                    may_be_empty=True,
                    progress=context.progress,
                )

        scored = score_in_shards(
            context.candidates("mine"),
            score,
            folder / "shards",
            size=self._shard_size(settings, context.recipe),
            process=context.process,
        )
        check_scored(scored)
        if context.process.is_first:
            scored.save(folder / CANDIDATES)
        report = {"queries": len(scored), "pairs": scored.pairs, "kind": scored.kind, "dropped": dict(scored.dropped)}
        return {**report, **label_f1_of_ends(scored, examples, mined=context.candidates("mine"))}

    def _shard_size(self, settings: Preferences, recipe: Recipe) -> int:
        """Queries of a shard: with an LLM about ``SHARD_PAIRS`` pairs."""
        if isinstance(settings.scorer, NoModel):
            return 500
        return max(1, SHARD_PAIRS // scored_per_query(recipe))


def scored_per_query(recipe: Recipe) -> int:
    """The largest number of candidates of a query that get a score."""
    settings = recipe.section(Preferences) or Preferences(scorer=NoModel(kind="bm25"))
    return min(settings.per_query, mined_per_query(recipe))
