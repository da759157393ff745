"""Label voting."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruie_training.evaluation import rankers
from ruie_training.evaluation.rankers import rank_by_encoder

from ruie_components import DemonstrationStore, Example, Query, Selector
from ruie_components.selection import voting
from ruie_components.selection.candidates import Choice
from ruie_components.selection.hybrid import count_tokens, hybrid_scores
from ruie_components.selection.voting import choose, vote
from ruie_components.starter import starter_examples


class Row(NamedTuple):
    id: str
    labels: tuple[str, ...] = ()
    event: str | None = None
    text: str = ""
    score: float = 0.0


def query(*labels: str, event: str | None = None) -> Query:
    if event:
        return Query(task="EAE", text="x", labels=labels, event={"type": event, "trigger": "x"})
    return Query(task="NER", text="x", labels=labels)


def names(chosen: list[Choice[Row]]) -> str:
    return "".join(choice.candidate.id for choice in chosen)


def test_the_labels_of_the_majority_win_over_the_nearest_alone():
    rows = [Row("a", ("w",)), Row("b", ("x", "y")), Row("c", ("x", "y")), Row("d", ("x", "y")), Row("e", ("x",))]
    assert names(vote(rows, query("w", "x", "y"), 1)) == "b"


def test_a_label_with_fewer_votes_is_shown_too():
    rows = [Row("a", ("x",)), Row("b", ("x",)), Row("c", ("y",)), Row("d", ("y",))]
    assert names(vote(rows, query("x", "y"), 2)) == "ac"


def test_the_one_demonstration_is_not_the_row_with_most_labels():
    long = Row("z", ("a", "b", "c", "d", "e", "f"))
    rows = [Row("a", ("a", "b")), Row("b", ("a", "b")), long, Row("c", ("a", "c")), Row("d", ("a", "d"))]
    assert names(vote(rows, query(*"abcdef"), 1)) == "a"
    assert "z" in names(vote(rows, query(*"abcdef"), 4))  # among several, one may show the rarer labels


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("Find me a flight to Rome with Aurora Air.", "Find me a flight from Oslo to Marrakesh"),
        ("Fly me to Rome with Aurora Air on Monday.", "Find me a flight from Oslo to Marrakesh"),
        ("We stayed three nights at Hotel Splendid in Lisbon.", "We spent three nights at the Hotel Azulejo in Porto"),
    ],
)
def test_the_one_demonstration_of_a_pool_is_near_though_a_long_row_has_every_label(text, near):
    starter = starter_examples("NER")
    labels = next(example.labels for example in starter if "airline" in example.labels)
    spans = {f"{label}-{number}": label for number, label in enumerate(labels)}
    long_text = f"After the long summer the committee compared {', '.join(spans)} before winter began in the valley."
    entities = [
        {"type": label, "text": span, "start": long_text.index(span), "end": long_text.index(span) + len(span)}
        for span, label in spans.items()
    ]
    long = Example(task="NER", text=long_text, labels=labels, entities=entities)
    with DemonstrationStore.create([*starter, long]) as store:
        (chosen,) = Selector("label-vote", k=1).select(store, Query(task="NER", text=text, labels=labels))
    assert chosen.example.text.startswith(near)


def test_repeated_annotations_count():
    rows = [Row("a", ("x", "x")), Row("b", ("x",)), Row("c", ("x", "x")), Row("d", ("x", "x"))]
    assert names(vote(rows, query("x"), 3)) == "acd"


def test_labels_that_are_not_asked_for_give_no_vote_and_cost_agreement():
    rows = [Row("a", ("pet",)), Row("b", ("pet", "city")), Row("c", ("city",)), Row("d", ("pet",))]
    assert names(vote(rows, query("city"), 2)) == "cb"


def test_examples_with_nothing_in_them_vote_for_nothing():
    rows = [Row("a"), Row("b"), Row("c", ("x",)), Row("d"), Row("e")]
    assert names(vote(rows, query("x"), 3)) == "cab"  # x is not unlikely, so it is shown once
    rows = [*(Row(name) for name in "abdefghij"), Row("c", ("x",))]
    assert names(vote(rows, query("x"), 3)) == "abd"


def test_the_vote_of_one_that_shares_rare_words_with_the_input_counts_more():
    rows = [Row("a", ("x",), text="the boat"), Row("b", ("y",), text="the heron"), Row("c", ("z",), text="the sea")]
    wanted = Query(task="NER", text="a heron, the grey one", labels=["x", "y", "z"])
    assert names(vote(rows, wanted, 1)) == "b"
    other = wanted.model_copy(update={"text": "the one"})
    assert names(vote([rows[0]._replace(score=0.9), *rows[1:]], other, 1)) == "a"


def test_a_schema_of_which_the_pool_knows_nothing_is_answered_by_all_votes():
    rows = [Row("a", ("x",)), Row("b", ("x",)), Row("c", ("y", "z"))]
    assert names(vote(rows, query("unheard"), 2)) == "ac"
    assert vote([], query("x"), 2) == []


def test_equal_words_leave_the_order_to_the_scores():
    texts = [count_tokens(f"the pump {number} failed in the old plant again") for number in range(9)]
    wanted = count_tokens("Has the pump failed in that old plant, and why does it fail again and again?")
    scores = hybrid_scores([0.9 - number / 10 for number in range(9)], texts, wanted).fused
    assert np.argsort(-scores, kind="stable").tolist() == list(range(9))


def test_the_querys_own_event_type_comes_first():
    rows = [Row("a", ("buyer",), "sale"), Row("b", ("place",), "attack"), Row("c", ("place",), "attack")]
    assert names(vote(rows, query("buyer", "place", event="attack"), 1)) == "b"
    assert names(vote(rows, query("buyer", "place", event="sale"), 1)) == "a"


@settings(deadline=None)  # no test measures time
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), max_size=12), st.integers(0, 14))
def test_the_choice_is_the_greedy_one_of_its_formula(rows, k):
    counts = np.array(rows, float).reshape(-1, 4)
    votes = 1 / np.arange(1.0, len(rows) + 1)
    chosen = choose(counts, counts, votes, k)
    assert len(chosen) == len(set(chosen)) == min(k, len(rows))
    roots = [
        float(np.sqrt(np.average([row[label] > 0 for row in rows], weights=votes))) for label in range(4 if rows else 0)
    ]
    left, shown = set(range(len(rows))), set()
    for taken in chosen:
        gains = {row: _gain(rows, row, votes, roots, shown, k) for row in left}
        assert gains[taken] == pytest.approx(max(gains.values()))
        left.remove(taken)
        shown |= {label for label in range(4) if rows[taken][label]}


def _gain(rows, row, votes, roots, shown, k):
    """``agreement + coverage_weight(k) * coverage`` of one row, written down as the docstring says it."""
    agreement = []
    for other in rows:
        size = sum(rows[row]) + sum(other)
        agreement.append(2 * sum(map(min, rows[row], other)) / size if size else 1)
    new = sum(root for label, root in enumerate(roots) if rows[row][label] and label not in shown)
    nothing = float(np.sqrt(np.average([not any(other) for other in rows], weights=votes)))
    return float(np.average(agreement, weights=votes)) + voting.COVERAGE * min(1, (1 - 1 / k) * 4 / 3) * new / max(
        sum(roots) + nothing, 1e-9
    )


@pytest.fixture(scope="module")
def sales():
    """An EAE pool with many sales and a few betrayals, and a query about a betrayal that looks like a sale."""

    def sale(text: str, kind: str) -> Example:
        trigger = {"text": "sold", "start": text.index("sold"), "end": text.index("sold") + 4}
        ada = {"text": "Ada", "role": "seller", "start": 0, "end": 3}
        event = {"type": kind, "trigger": trigger, "arguments": [ada]}
        return Example(task="EAE", text=text, labels=["seller"], events=[event])

    pool = [sale(f"Ada sold the boat {number}.", "sale") for number in range(70)]
    pool += [sale(f"Ada once was sold short: {number} tales of 北京.", "betrayal") for number in range(3)]
    return pool, sale("Ada sold the boat.", "betrayal")


def test_a_pool_is_searched_further_for_the_querys_event_type(encoder, sales):
    pool, wanted = sales
    with DemonstrationStore.create(pool, encoder=encoder) as store:
        chosen = Selector("label-vote", k=3, fetch_k=5).select_many(store, [wanted.query, pool[0].query])
    assert {each.example.events[0].type for each in chosen[0]} == {"betrayal"}
    assert {each.example.events[0].type for each in chosen[1]} == {"sale"}


def test_the_evaluation_searches_further_too(encoder, sales):
    pool, wanted = sales
    scores = rank_by_encoder(encoder)([wanted], pool)
    scores[0, -3:] = -1.0  # the betrayals are the last of all
    rows = rankers.select("label-vote", scores, [wanted], pool, 3)
    assert sorted(rows[0]) == [70, 71, 72]
