"""The example selector for LangChain's few-shot prompt templates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate

from ruie_components import prompts
from ruie_components.prompts import AnswerFormat
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, EventQuery, Example, Task


class RUIEExampleSelector(BaseExampleSelector):
    r"""Selects the demonstrations for a few-shot prompt, the most similar last, next to the input.

    Args:
        store: Where the demonstrations are. Examples that are added or deleted are added or deleted there.
        k: How many. The selector's own number where one is given, else 8.
        task: The task of inputs whose variables name none; the pool's only task if not given.
        labels: What inputs ask for whose variables name no labels; all of the task in the pool if not given.
        event: For EAE, the event of inputs whose variables name none.
        selector: How demonstrations are chosen; ``Selector()`` if not given.
        text_key: The variable that holds the text; ``text`` or else ``input`` if not given.
        answer_format: How ``output`` is written: "linear" or "json".

    Every selected example is a dictionary with ``input`` (its block up to ``Output:``), ``output`` (its answer),
    ``text``, ``task``, ``labels``, ``score`` and ``id``.

    .. code-block:: python

        selector = RUIEExampleSelector(store, task="NER", k=4)
        prompt = FewShotPromptTemplate(
            example_selector=selector, example_prompt=selector.example_prompt, suffix="Input: {text}\nOutput:"
        )
        chat = FewShotChatMessagePromptTemplate(
            example_selector=selector, example_prompt=selector.chat_example_prompt, input_variables=["text"]
        )
    """

    def __init__(
        self,
        store: DemonstrationStore,
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
        selector: Selector | None = None,
        text_key: str | None = None,
        answer_format: AnswerFormat | str = AnswerFormat.LINEAR,
    ) -> None:
        self.answer_format = AnswerFormat(answer_format)
        self.retriever = DemonstrationRetriever(store, selector, k, task, labels, event, text_key=text_key)

    def select_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The examples for an input.

        Args:
            input_variables: The variables of the prompt; among them the text, and perhaps ``task``, ``labels``,
                ``event``, or a whole ``query``.

        Raises:
            ValueError: No text among the variables, or no task or labels to be found.
        """
        chosen = self.retriever.retrieve(input_variables)
        return [self._as_dictionary(demonstration) for demonstration in reversed(chosen)]

    async def aselect_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """``select_examples`` without blocking the loop."""
        return await asyncio.to_thread(self.select_examples, input_variables)

    def add_example(self, example: Example | Mapping[str, Any]) -> str:
        """Add an example, or a row of one, to the store; adding it twice changes nothing.

        Returns:
            Its id.

        Raises:
            ValueError: The row is no valid example.
        """
        valid = example if isinstance(example, Example) else Example.model_validate(dict(example))
        self.retriever.store.add([valid])
        return valid.content_id

    async def aadd_example(self, example: Example | Mapping[str, Any]) -> str:
        """``add_example`` without blocking the loop."""
        return await asyncio.to_thread(self.add_example, example)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete examples from the store by their ids; unknown ids are passed over."""
        self.retriever.store.delete(ids)

    @cached_property
    def example_prompt(self) -> PromptTemplate:
        """The example prompt for ``FewShotPromptTemplate``; braces in texts and in JSON answers are safe in it.

        Only with ``template_format="f-string"``, the default: with "jinja2" texts would be read as templates.
        """
        return _BraceSafePrompt.from_template("{input} {output}")

    @cached_property
    def chat_example_prompt(self) -> ChatPromptTemplate:
        """The example prompt for ``FewShotChatMessagePromptTemplate``: a question, and the answer to it."""
        return ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")])

    def _as_dictionary(self, demonstration: Demonstration) -> dict[str, Any]:
        example = demonstration.example
        return {
            "input": prompts.render_query(example.query),
            "output": prompts.render_answer(example, self.answer_format),
            "text": example.text,
            "task": example.task.value,
            "labels": list(example.labels),
            "score": demonstration.score,
            "id": example.content_id,
        }


class _BraceSafePrompt(PromptTemplate):
    """A template whose result is formatted a second time, as FewShotPromptTemplate does with its examples."""

    def format(self, **kwargs: Any) -> str:
        """The formatted text, its braces doubled."""
        return super().format(**kwargs).replace("{", "{{").replace("}", "}}")
