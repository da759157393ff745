import math

import pytest

from ruie_components import Example, Extraction
from ruie_components.evaluation import Condition, Measurement, correlations
from ruie_components.evaluation.predictors import correlation_table
from ruie_components.extraction.results import ExtractionResult, Usage

ADA = {"type": "person", "text": "Ada", "start": 0, "end": 3}
BOB = {"type": "person", "text": "Bob", "start": 8, "end": 11}
EXAMPLE = Example(task="NER", text="Ada met Bob.", labels=["person"], entities=[ADA, BOB])


def measurement(dataset: str, selection: str, found: list[int], label_f1: list[float]) -> Measurement:
    """A condition that found so many of two entities of each input."""
    extractions = [
        Extraction(task="NER", text=EXAMPLE.text, labels=EXAMPLE.labels, entities=[ADA, BOB][:n]) for n in found
    ]
    results = tuple(ExtractionResult(extraction, None, Usage()) for extraction in extractions)
    constant = (0.5,) * len(found)
    examples = (EXAMPLE,) * len(found)
    return Measurement(Condition(dataset, "m", selection, 4), examples, results, tuple(label_f1), constant, constant)


def rho(found, over, predictor="label_f1"):
    (one,) = [one for one in found if one.over == over and one.predictor == predictor and one.task == "NER"]
    return one.rho


def test_the_set_explains_what_the_demonstrations_do_not():
    # an easy set with high label F1 and a hard one with low; within each, more label F1 gives less
    measurements = [
        measurement("easy", "a", [2, 2, 2, 2], [0.8] * 4),
        measurement("easy", "b", [2, 2, 2, 1], [0.9] * 4),
        measurement("hard", "a", [1, 1, 0, 0], [0.2] * 4),
        measurement("hard", "b", [1, 0, 0, 0], [0.3] * 4),
    ]
    found = correlations(measurements)
    assert rho(found, "sets x selections") == pytest.approx(0.6)
    assert rho(found, "sets x selections, less the set's mean") < -0.8
    assert rho(found, "inputs") > 0
    assert rho(found, "inputs, less the input's mean") < 0
    assert math.isnan(rho(found, "inputs", "shared_words"))  # it never varies
    assert {one.points for one in found if one.over == "inputs"} == {16}
    assert "| NER | sets x selections | 4 | +0.60 |" in correlation_table(found)


def test_a_further_measure_stands_beside_the_others():
    measurements = [measurement("a", "x", [2, 1, 0, 0], [0.5] * 4), measurement("a", "y", [2, 2, 1, 0], [0.5] * 4)]
    found = correlations(measurements, {"likelihood": [[-1, -2, -3, math.nan], [-1, -1, -2, -3]]})
    assert rho(found, "inputs", "likelihood") == pytest.approx(1)
    assert {one.points for one in found if one.over == "inputs" and one.predictor == "likelihood"} == {7}
    table = correlation_table(found)
    assert "| label F1@k | label recall@k | shared words | likelihood |" in table
    assert "| NER | inputs | 8 |  |  |  | +1.00 |" in table


def test_too_few_points_say_nothing():
    found = correlations([measurement("a", "x", [2], [0.3]), measurement("a", "y", [1], [0.1])])
    assert all(math.isnan(one.rho) for one in found)
    assert correlation_table(found) == ""


def test_conditions_without_demonstrations_are_left_out():
    zero = measurement("a", "zero-shot", [1, 0, 0, 0], [math.nan] * 4)
    object.__setattr__(zero, "condition", Condition("a", "m", "zero-shot", 0))
    assert correlations([zero]) == []
