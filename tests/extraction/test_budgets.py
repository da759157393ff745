"""A corpus run stops at its budget of calls, tokens or money."""

import pytest

from ruie_components.extraction.budget import Budget

from .corpus_runs import DOCUMENTS, NAMES, names_in
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_a_budget_of_calls_is_never_passed_and_the_run_goes_on_with_a_larger_one(run):
    model = Copier()
    summary, rows = run(model, budget=Budget(calls=4))
    assert (len(model.asked), len(rows), summary.complete) == (4, 4, False)
    assert summary.stopped == "the budget of 4 calls"
    summary, _ = run(model, budget=Budget(calls=4))
    assert (len(model.asked), summary.documents) == (4, 4)
    summary, rows = run(model, budget=Budget(calls=100))
    assert (len(rows), summary.complete, len(model.asked)) == (10, True, 10)


@pytest.mark.parametrize("failing", [["Ada", "Cy", "Jo"], ["Hal", "Ida", "Jo"]])
def test_a_budget_counts_what_a_retry_takes_over_from_its_beginning(run, failing):
    first, _ = run(Copier(*failing), out="run")
    each = (first.input_tokens + first.output_tokens) // 7  # tokens of a document that was answered
    spent = first.input_tokens + first.output_tokens
    for out, less, more in (
        ("run", Budget(calls=first.calls + 2), Budget(calls=first.calls + 3)),
        ("tokens", Budget(tokens=spent + 5 * each // 2), Budget(tokens=spent + 9 * each // 2)),
    ):
        run(Copier(*failing), out=out)
        model = Copier()
        summary, rows = run(model, out=out, retry_failed=True, budget=less)
        assert (sorted(model.asked), summary.failed, len(rows)) == (failing[:2], 1, 10)
        assert summary.stopped.startswith("the budget of")
        assert summary.calls == first.calls + 2
        summary, _ = run(model, out=out, retry_failed=True, budget=less)
        assert (len(model.asked), summary.failed) == (2, 1)
        summary, rows = run(model, out=out, retry_failed=True, budget=more)
        assert (sorted(model.asked), summary.failed, summary.stopped) == (failing, 0, None)
        assert summary.calls == first.calls + 3
        assert names_in(rows) == [[name] for name in NAMES]


def test_a_repeated_request_counts_towards_the_budget(run):
    model = Copier("Ada")
    summary, rows = run(model, budget=Budget(calls=1))
    assert (len(model.asked), summary.calls, summary.failed) == (1, 1, 1)
    assert "no Ada today" in rows[0]["error"]
    model = Copier("Ada")
    summary, rows = run(model, DOCUMENTS[:1], out="two", budget=Budget(calls=2))
    assert (len(model.asked), summary.calls, len(rows)) == (2, 2, 1)


def test_budgets_of_tokens_and_money(run):
    whole, _ = run(Copier())
    half = (whole.input_tokens + whole.output_tokens) // 2
    summary, rows = run(Copier(), out="tokens", budget=Budget(tokens=half))
    assert 3 <= len(rows) <= 5
    assert summary.input_tokens + summary.output_tokens <= half
    prices = (2.0, 10.0)
    cost = (whole.input_tokens * 2 + whole.output_tokens * 10) / 1e6
    summary, rows = run(Copier(), out="money", budget=Budget(cost=cost / 2, prices=prices))
    assert 3 <= len(rows) <= 5
    assert summary.cost <= cost / 2
    with pytest.raises(ValueError, match="a budget of money needs prices"):
        Budget(cost=1.0)
