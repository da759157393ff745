"""The stage ``mine``: candidates of every query (paper, pipeline step 1)."""

from __future__ import annotations

from typing import Any

from ruie_training.mining.settings import Mine
from ruie_training.pipeline.context import CANDIDATES, Context
from ruie_training.pipeline.stage import Estimate, Report, Stage, Workload
from ruie_training.recipes import Recipe

MINED_KEYS = "k or random of [mine]"
"""The keys that determine ``mined_per_query``, for error messages."""

_SECONDS = 2e-4  # per query, against tens of thousands of demonstrations


class MiningStage(Stage[Mine]):
    """Ranks the pool of each query's own set, by BM25 or by an encoder, and adds random candidates."""

    name = "mine"
    settings_type = Mine
    optional = False

    def content(self, recipe: Recipe) -> dict[str, Any]:
        """Its section, and the choice of data."""
        return {**super().content(recipe), "data": recipe.data.content()}

    def data_hash(self, context: Context) -> str:
        """The training rows."""
        return context.training_hash

    def estimate(self, work: Workload) -> Estimate:
        """The number of pairs of queries and candidates."""
        unit = f"pairs of {work.queries:,} queries and {work.pool:,} demonstrations"
        return Estimate(work.queries * self.settings(work.recipe).k, unit, work.queries * _SECONDS)

    def run(self, context: Context) -> Report:
        """Mine, and save the candidates."""
        from ruie_components.encoders import load_encoder
        from ruie_training.mining.bm25 import mine_sets
        from ruie_training.mining.dense import add_random, by_set, mine_dense

        material, settings = context.material, self.settings(context.recipe)
        if settings.ranker == "bm25":
            mined = mine_sets(material.queries, material.pool, k=settings.k, progress=context.progress)
        else:
            mined = mine_dense(material.queries, material.pool, load_encoder(), k=settings.k, progress=context.progress)
        if settings.random:
            pools = by_set(material.pool).values()
            mined = add_random(mined, material.examples, pools, settings.random, context.recipe.seed)
        mined.save(context.folder(self.name) / CANDIDATES)
        return {
            "sets": [dataset.name for dataset in context.sets],
            "pool": len(material.pool),
            "queries": len(mined),
            "pairs": mined.pairs,
            "dropped": {**material.dropped, **mined.dropped},
        }


def mined_per_query(recipe: Recipe) -> int:
    """The largest number of candidates of a query."""
    settings = recipe.section(Mine) or Mine()
    return settings.k + settings.random
