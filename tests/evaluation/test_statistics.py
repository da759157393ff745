import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components.evaluation.statistics import f1_interval, paired_difference, paired_differences
from ruie_components.scoring import Counts

COUNTS = st.lists(st.builds(Counts, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20)


@given(st.dictionaries(st.sampled_from("abc"), COUNTS, min_size=1))
def test_the_value_is_the_mean_of_the_sets_micro_f1(inputs):
    expected = np.mean([100 * sum(counts, Counts()).f1 for counts in inputs.values()])
    interval = f1_interval(inputs)
    assert interval.value == pytest.approx(expected)
    assert 0 <= interval.low <= interval.high <= 100


@given(COUNTS)
def test_a_selection_does_not_differ_from_itself(counts):
    difference = paired_difference({"a": counts}, {"a": counts})
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_a_clear_difference_has_a_small_p_and_a_doubtful_one_a_large():
    right, wrong = Counts(1, 0, 0), Counts(0, 1, 1)
    clear = paired_difference({"a": [right] * 50}, {"a": [right] * 25 + [wrong] * 25})
    assert clear.value == pytest.approx(50)
    assert clear.low > 30
    assert clear.p < 0.01
    doubtful = paired_difference({"a": [right, wrong] * 20}, {"a": [wrong, right] * 20})
    assert doubtful.p > 0.5


def test_an_interval_narrows_with_the_inputs():
    mixed = [Counts(1, 0, 0), Counts(0, 1, 1)]
    few, many = f1_interval({"a": mixed * 5}), f1_interval({"a": mixed * 200})
    assert many.high - many.low < (few.high - few.low) / 3


def test_all_pairs_differ_as_each_pair_does():
    generator = np.random.default_rng(0)

    def drawn(size: int) -> list[Counts]:
        return [Counts(*map(int, row)) for row in generator.integers(0, 4, (size, 3))]

    settings = {f"setting {i}": {"a": drawn(30), "b": drawn(20)} for i in range(3)}
    settings["in another order"] = dict(reversed(settings["setting 1"].items()))
    settings |= {f"fewer inputs {i}": {"a": drawn(10), "b": drawn(20), "empty": []} for i in range(2)}
    pairs = paired_differences(settings)
    assert len(pairs) == 6 + 1  # settings with other inputs are not compared
    assert pairs == {(one, other): paired_difference(settings[one], settings[other]) for one, other in pairs}
    assert pairs["setting 1", "in another order"].value == pytest.approx(0)


@pytest.mark.parametrize("seed", [0, 7])
def test_resamples_are_drawn_set_by_set(seed):
    inputs = {"a": [Counts(1, 0, 2), Counts(0, 3, 1), Counts(2, 1, 0)], "b": [Counts(1, 1, 0), Counts(0, 1, 1)]}
    generator = np.random.default_rng(seed)
    per_set = []
    for counts in inputs.values():
        drawn = generator.integers(0, len(counts), (2000, len(counts)))
        per_set.append([100 * sum((counts[i] for i in row), Counts()).f1 for row in drawn])
    low, high = np.percentile(np.mean(per_set, 0), [2.5, 97.5])
    assert f1_interval(inputs, seed=seed)[1:] == pytest.approx((low, high))


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="same inputs"):
        paired_difference({"a": [Counts()]}, {"a": [Counts(), Counts()]})
