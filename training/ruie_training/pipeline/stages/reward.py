"""The stage ``reward``: a cross-encoder that learns the preferences and scores every candidate (paper, step 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruie_components.files import atomic_write
from ruie_training.data.settings import SCRATCH
from ruie_training.models.settings import Models, Reward
from ruie_training.pipeline.context import CANDIDATES, Context
from ruie_training.pipeline.shards import score_in_shards
from ruie_training.pipeline.sources import check_groups, check_queries, check_source
from ruie_training.pipeline.speed import PAIR_TOKENS, parameters, trained_queries
from ruie_training.pipeline.stage import Estimate, Report, Stage, Workload
from ruie_training.pipeline.stages.mining import mined_per_query
from ruie_training.pipeline.stages.preferences import SCORED_KEYS, scored_per_query
from ruie_training.preferences import label_f1_of_ends
from ruie_training.preferences.settings import Preferences
from ruie_training.recipes import Recipe


class RewardStage(Stage[Reward]):
    """Trains the cross-encoder, then scores every candidate with it."""

    name = "reward"
    settings_type = Reward
    reads = ("mine", "models", "preferences")
    shared = True

    def validate(self, recipe: Recipe) -> None:
        """It needs preferences, enough of each query; a model from scratch needs its section."""
        settings, models = self.settings(recipe), recipe.section(Models)
        if recipe.section(Preferences) is None:
            raise ValueError("[reward] learns from preferences: add a section [preferences]")
        if settings.model == SCRATCH and (models is None or models.cross_encoder is None):
            raise ValueError(f'[reward] has model = "{SCRATCH}": add a section [models.cross_encoder]')
        start = models.cross_encoder if models and settings.model == SCRATCH else None
        if start and start.max_length < settings.max_length:
            raise ValueError(
                f"[reward] max_length is {settings.max_length}, and [models.cross_encoder] reads {start.max_length} "
                "tokens"
            )
        check_groups(settings.groups, scored_per_query(recipe), self.name, SCORED_KEYS)

    def check(self, context: Context) -> None:
        """The starting model must exist, and there must be queries for one step, in a precision of this machine."""
        from ruie_training.models.trainers import check_precision

        settings = self.settings(context.recipe)
        check_precision(settings.optimisation, f"{self.name}.optimisation")
        check_source(settings.model, "[reward] model", own=(SCRATCH,))
        check_queries(context, self.name, settings.optimisation.batch_size)

    def estimate(self, work: Workload) -> Estimate:
        """The numbers of pairs to train on and to score."""
        settings, models = self.settings(work.recipe), work.recipe.section(Models)
        size = parameters(settings.model, settings.parameters, models.cross_encoder if models else None)
        mined = work.queries * mined_per_query(work.recipe)
        trained = trained_queries(settings.optimisation) * settings.groups.size
        seconds = (3 * trained + mined) * PAIR_TOKENS * 2 * size / work.speed
        return Estimate(trained + mined, f"pairs, {trained:,} of them to train on", seconds)

    def run(self, context: Context) -> Report:
        """Train, unless an interrupted run already has, and score in shards."""
        from ruie_training.models.cross_encoder import count_cut_pairs, score_candidates

        settings = self.settings(context.recipe)
        folder, examples = context.folder(self.name), context.material.examples
        model, report = self._train(context, settings, folder)
        mined = context.candidates("mine")
        scored = score_in_shards(
            mined,
            lambda shard: score_candidates(model, shard, examples, settings),
            folder / "shards",
            process=context.process,
            label="reward scores" if context.progress else None,
        )
        if context.process.is_first:
            scored.save(folder / CANDIDATES)
            report["pairs cut"] = count_cut_pairs(model, mined, examples, settings)
        return {**report, "pairs": scored.pairs, **label_f1_of_ends(scored, examples, mined=mined)}

    def _train(self, context: Context, settings: Reward, folder: Path) -> tuple[Any, Report]:
        """The trained model and the report of its training, or those of an earlier training in the folder."""
        from ruie_training.models.cross_encoder import load_cross_encoder, train_reward

        seed = context.recipe.seed if settings.seed is None else settings.seed
        done = folder / "training.json"
        source = context.folder("models") / "cross_encoder" if settings.model == SCRATCH else settings.model
        model = load_cross_encoder(
            folder / "model" if done.is_file() else source,
            keywords=settings.keywords,
            max_length=settings.max_length,
            seed=seed,
        )
        if done.is_file():
            return model, dict(json.loads(done.read_text("utf-8")))
        candidates, examples = context.candidates("preferences"), context.material.examples
        options = context.training_options() | {"seed": seed}
        report = train_reward(model, candidates, examples, settings, folder, **options)
        if context.process.is_first:
            atomic_write(done, json.dumps(report))
        return model, report
