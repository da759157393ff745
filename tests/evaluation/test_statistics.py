import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components.evaluation.statistics import f1_interval, paired_difference
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


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="same inputs"):
        paired_difference({"a": [Counts()]}, {"a": [Counts(), Counts()]})
