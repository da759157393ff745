"""The scorer interface, and the prompt and answer of a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ruie_components import keywords as tags
from ruie_components import prompts
from ruie_components.keywords import KeywordStrategy
from ruie_components.types import Example, Query
from ruie_training.errors import TrainingError

Pair = tuple[Example, Example]
"""A demonstration and a query."""

Shown = tuple[Sequence[Example], Example]
"""Any number of demonstrations, best first, and a query."""


Advance = Callable[[int], None]
"""Called with the number of pairs that were scored since the last call; from any thread."""


def ignore_progress(_: int) -> None:
    """The default of ``Advance``."""


class ScoresMissingError(TrainingError):
    """Some pairs have no score, after every retry.

    Attributes:
        scores: The available scores; None for a pair without one.
    """

    def __init__(self, message: str, scores: Sequence[float | None]) -> None:
        super().__init__(message)
        self.scores = list(scores)


class Scorer(Protocol):
    """Scores how well a demonstration suits a query."""

    @property
    def kind(self) -> str:
        """The kind of the scores: ``likelihood``, ``outcome``, ``label-overlap``."""
        ...

    def score(self, pairs: Sequence[Pair], advance: Advance = ignore_progress) -> list[float]:
        """A score for each pair, higher is better; NaN if prompt and answer don't fit the model's context.

        Raises:
            TrainingError: Pairs can't be scored for another reason; the message counts them.
        """
        ...


class LikelihoodScorer(Scorer, Protocol):
    """A scorer that also reads prompts of several demonstrations."""

    def likelihoods(self, shown: Sequence[Shown]) -> list[float]:
        """The average log-likelihood of each query's gold answer, in nats per token; NaN if it doesn't fit.

        Raises:
            TrainingError: As ``score``.
        """
        ...


def alone(pairs: Sequence[Pair]) -> list[Shown]:
    """Each pair as a prompt with one demonstration."""
    return [((demonstration,), query) for demonstration, query in pairs]


def prompt_and_answer(shown: Shown, keywords: KeywordStrategy = KeywordStrategy.NONE) -> tuple[str, str]:
    """The prompt of ``prompts.build_prompt``, with the best demonstration last, and the gold answer.

    Args:
        shown: Demonstrations, best first, and query.
        keywords: How annotated spans are tagged in all inputs. Anything except ``none`` reveals the query's gold spans
            to the LLM, as in the reference code.
    """
    demonstrations, query = shown
    blocks = [
        f"{prompts.render_query(_tagged(example, keywords))} {prompts.render_answer(example)}"
        for example in reversed(demonstrations)
    ]
    last = prompts.render_query(_tagged(query, keywords))
    return "\n\n".join([prompts.default_instruction(query.task), *blocks, last]), f" {prompts.render_answer(query)}"


def _tagged(example: Example, keywords: KeywordStrategy) -> Query:
    if keywords is KeywordStrategy.NONE:
        return example.query
    return example.query.model_copy(update={"text": tags.mark(example, keywords)})
