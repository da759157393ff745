"""Preference by outcome: the quality of a chat model's answer with one demonstration.

For models that return no log-probabilities of the prompt: Ollama, llama.cpp's server, chat endpoints. It costs one
answer per pair, and is less informative than a likelihood: most answers to short inputs are entirely correct or wrong.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor

from ruie_components import answers, prompts, scoring
from ruie_components.chat import AnyChatModel, as_chat_model, retry
from ruie_components.errors import ChatModelError, PromptTooLongError
from ruie_components.types import Demonstration, Example
from ruie_training.preferences.scorer import Advance, Pair, ScoresMissingError, ignore_progress


class OutcomeScorer:
    """F1 of a chat model's answer to the query with the demonstration in the prompt.

    Args:
        model: A chat model, as for ``Extractor``: a name, a LangChain chat model, a LlamaIndex LLM, or a function
            from a list of ``(role, content)`` to text. Set its temperature to 0, so that scores are reproducible.
        mode: How the answer is compared with the gold annotations, as in ``scoring.score``.
        concurrency: The number of concurrent requests.
        retries: How often to repeat a request after a temporary failure.

    Raises:
        TypeError: ``model`` is not a chat model.
    """

    kind = "outcome"

    def __init__(
        self,
        model: AnyChatModel,
        *,
        mode: scoring.Mode = "span",
        concurrency: int = 4,
        retries: int = 4,
    ) -> None:
        self.model = as_chat_model(model)
        self.mode = mode
        self.concurrency = concurrency
        self.retries = retries

    def score(self, pairs: Sequence[Pair], advance: Advance = ignore_progress) -> list[float]:
        """F1 of each pair's answer, 0 to 1; if there is nothing to extract, 1 for an answer that says so.

        NaN if the model rejects the prompt as longer than its context.

        Raises:
            ScoresMissingError: Requests for some pairs failed; the message says how many and why.
        """
        failures: list[ChatModelError] = []
        stopped = threading.Event()

        def score(pair: Pair) -> float | None:
            if stopped.is_set():
                return None
            try:
                value = self._score(*pair, stopped)
            except CancelledError:
                return None
            except PromptTooLongError:
                return math.nan
            except ChatModelError as error:
                failures.append(error)
                if len(failures) >= self.concurrency:
                    stopped.set()  # every retry of several requests failed: the others would fail, too
                return None
            else:
                return value
            finally:
                advance(1)

        with ThreadPoolExecutor(self.concurrency) as workers:
            try:
                scores = list(workers.map(score, pairs))
            except BaseException:
                stopped.set()
                raise
        if failures:
            missing = scores.count(None)
            raise ScoresMissingError(
                f"{missing} of {len(scores)} pairs have no score: {failures[-1]}. Run the stage again when the model "
                "answers",
                scores,
            ) from failures[-1]
        return [score for score in scores if score is not None]

    def _score(self, demonstration: Example, query: Example, stopped: threading.Event) -> float:
        prompt = prompts.build_prompt(query.query, [Demonstration(example=demonstration, score=1.0)])
        response = retry.complete(self.model, prompt, retries=self.retries, stopped=stopped)
        extraction = answers.parse(response.text, query.query)
        if not query.annotation_labels and not extraction.annotation_labels:
            return 1.0
        return scoring.score([query], [extraction], mode=self.mode).f1
