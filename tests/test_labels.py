"""Label F1 and recall: the vectorized ones equal the plain ones, and those hold by hand."""

from collections import Counter
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import Example
from ruie_components.labels import (
    common_labels,
    count_matrices,
    count_matrix,
    label_counts,
    label_f1,
    label_f1_at_k,
    label_f1_matrix,
    label_recall,
    label_recall_at_k,
)


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("ab", "ab", 1.0),
        ("aab", "ab", 0.8),
        ("aab", "a", 0.5),
        ("a", "aab", 0.5),
        ("a", "b", 0.0),
        ("", "", 1.0),
        ("", "a", 0.0),
        ("aabc", "abbc", 0.75),
    ],
)
def test_f1_of_two_multisets(one, other, f1):
    assert label_f1(Counter(one), Counter(other)) == pytest.approx(f1)


def test_recall_counts_distinct_labels_in_all_that_is_shown():
    assert label_recall("aab", [Counter("ac"), Counter("c")]) == 0.5
    assert label_recall("ab", [Counter("a"), Counter("b")]) == 1.0
    assert label_recall("ab", []) == 0.0
    assert isnan(label_recall("", [Counter("a")]))


multisets = st.lists(st.text("abcd", max_size=7), min_size=1, max_size=6)


@given(multisets, multisets)
def test_the_matrix_equals_f1_of_each_pair(queries, examples):
    rows, columns = (count_matrix(some, "abcd") for some in (queries, examples))
    expected = [[label_f1(Counter(one), Counter(other)) for other in examples] for one in queries]
    np.testing.assert_allclose(label_f1_matrix(rows, columns), expected, rtol=1e-6)
    minima = np.minimum(rows[:, None], columns[None]).sum(2)
    assert (common_labels(rows, columns) == minima).all()


def test_labels_of_examples_are_those_of_the_task():
    ada = {"text": "Ada", "start": 0, "end": 3, "type": "person"}
    one = Example(task="NER", text="Ada slept.", labels=["city", "person"], entities=[ada])
    none = Example(task="NER", text="Rain fell.", labels=["person"])
    assert label_counts(one) == Counter(["person"])
    assert [counts.tolist() for counts in count_matrices([one], [none, one])] == [[[1]], [[0], [1]]]


def test_at_k_takes_the_first_k_and_passes_over_empty_places():
    queries, examples = count_matrix(["aab", ""], "abc"), count_matrix(["a", "c", "b"], "abc")
    f1 = label_f1_matrix(queries, examples)
    ranked = np.array([[0, 2, -1], [1, -1, -1]])
    assert label_f1_at_k(f1, ranked, 3).tolist() == pytest.approx([(0.5 + 0.5) / 2, 0.0])
    recall = label_recall_at_k(queries, examples, ranked, 1)
    assert recall[0] == 0.5
    assert isnan(recall[1])
    assert label_recall_at_k(queries, examples, ranked, 2)[0] == 1.0
