"""How long a stage may take, before it runs."""

import pytest
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.reading import make_recipe, read_recipe
from ruie_training.pipeline.stage import Workload
from ruie_training.pipeline.stages import STAGES


def test_estimates_grow_with_the_work(starter_data):
    recipe = read_recipe("tiny")

    def seconds(recipe):
        return STAGES["preferences"].estimate(Workload(Context(recipe, starter_data, starter_data), speed=1e10)).seconds

    more = recipe.model_copy(update={"data": recipe.data.model_copy(update={"queries_per_set": 48})})
    assert seconds(more) == pytest.approx(2 * seconds(recipe))
    settings = recipe.model_dump()
    settings["preferences"]["scorer"] = {"kind": "served", "model": "x", "urls": ["http://localhost:1"]}
    assert seconds(make_recipe(settings)) is None


def test_a_static_start_is_estimated_in_minutes(starter_data):
    work = Workload(Context(read_recipe("from-embedded"), starter_data, starter_data), speed=1e10)
    assert 10 < STAGES["distil"].estimate(work).seconds < 1000
