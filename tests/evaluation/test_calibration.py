import csv
import math
from contextlib import closing

import numpy as np
import pytest

from ruie_components.chat import CopyBaseline, Response
from ruie_components.evaluation import (
    AnswerCache,
    CachedChatModel,
    EvaluationSet,
    Plan,
    calibration_error,
    measure,
    outcomes,
    reliability,
)
from ruie_components.evaluation.calibration import Outcome
from ruie_components.evaluation.tables import calibration_table, rows, write_results
from ruie_components.starter import starter_examples


def test_a_calibrated_source_has_no_error_and_a_boaster_has():
    generator = np.random.default_rng(0)
    confidence = generator.random(20_000)
    is_right = generator.random(20_000) < confidence
    calibrated = [Outcome(float(c), bool(r)) for c, r in zip(confidence, is_right, strict=True)]
    assert calibration_error(calibrated) < 0.02
    boaster = [Outcome(1.0, bool(r)) for r in is_right]
    assert calibration_error(boaster) == pytest.approx(1 - is_right.mean())
    assert [one.size for one in reliability(boaster)] == [20_000]
    assert math.isnan(calibration_error([]))


class Sampled(CopyBaseline):
    """The baseline, which in every other answer finds nothing."""

    def __init__(self):
        self._calls = 0

    def complete(self, prompt, *, constraint=None):
        self._calls += 1
        return Response("None") if self._calls % 2 == 0 else super().complete(prompt)


def test_agreement_is_measured_and_cached(tmp_path):
    pytest.importorskip("matplotlib")
    examples = [example for example in starter_examples("NER") if example.annotations]
    data = EvaluationSet("NER/starter", tuple(examples[6:]), tuple(examples[:6]))
    model = Sampled()
    with closing(AnswerCache(tmp_path / "a.sqlite")) as cache:
        plan = Plan([data], [CachedChatModel(model, cache)], ["bm25"], [4])
        (one,) = measure(plan, samples=3, progress=False)
        assert model._calls == 24
        measure(plan, samples=3, progress=False)
        assert model._calls == 24
    given = outcomes(one)
    assert {outcome.confidence for outcome in given} <= {0.0, 1 / 3, 2 / 3, 1.0}
    row = rows([one])[0]
    assert row["calibration_error"] == pytest.approx(100 * calibration_error(given))
    assert row["confident_annotations"] == len(given) > 0
    assert f"| baseline | bm25 k=4 | {len(given)} |" in calibration_table([one])
    assert {"reliability.png", "reliability.csv"} <= {path.name for path in write_results(tmp_path / "out", [one])}
    with (tmp_path / "out" / "reliability.csv").open() as file:
        bins = list(csv.DictReader(file))
    assert [int(each["annotations"]) for each in bins] == [each.size for each in reliability(given)]
    assert [float(each["precision"]) for each in bins] == [100 * each.precision for each in reliability(given)]
