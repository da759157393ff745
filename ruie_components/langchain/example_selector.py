"""The example selector for LangChain's few-shot prompt templates."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.prompts import (
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    PromptTemplate,
    StringPromptTemplate,
)
from pydantic import ConfigDict
from typing_extensions import override

from ruie_components import prompts
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, EventQuery, Example, Query, Task

_FIELDS = frozenset(("query", "task", "labels", "schema", "event", "id", "metadata"))
"""The names under which a mapping holds more than its text; a prompt's ``id`` and ``metadata`` may be anything."""


class RUIEExampleSelector(BaseExampleSelector):
    """Selects the demonstrations for a few-shot prompt, the most similar last, next to the input.

    What ``ruie tune`` chose for the task takes the place of the defaults of ``k``, ``selector`` and ``answer_format``
    and of the order.

    Args:
        store: The pool of demonstrations, to which examples are added.
        k: The number of demonstrations. Default: the selector's.
        task: The task of inputs without one. Default: the pool's only task.
        labels: The labels of inputs without any. Default: all labels of the task in the pool.
        event: For EAE, the event of inputs without one.
        selector: How demonstrations are chosen. Default: as tuned, else ``Selector()``.
        text_key: The variable that holds the text. Default: ``text``, else ``input``.
        variables: The variables that are read besides the text; of ``query``, ``task``, ``labels``, ``schema``,
            ``event``. Leave those out that your prompt uses for something else.
        answer_format: How ``output`` is written: "linear" or "json". Default: as tuned, else "linear".
        bare: Whether to show only the text of inputs, without task, schema and ``Output:``. The instruction then lists
            the labels. Small models may do better with it.

    Every selected example is a dictionary with ``input`` (its block up to ``Output:``, or its text), ``output`` (its
    answer), ``text``, ``task``, ``labels``, ``score`` and ``id``.

    A chain with the prompt of an ``Extractor`` and a parser:

    ```python
    selector = RUIEExampleSelector(store, task="NER", k=4)
    few_shot = FewShotChatMessagePromptTemplate(
        example_selector=selector, example_prompt=selector.chat_example_prompt, input_variables=["text"]
    )
    prompt = ChatPromptTemplate.from_messages(
        [SystemMessage(selector.instruction), few_shot, selector.input_prompt]
    )
    chain = RunnableParallel(query=selector.query, answer=prompt | model) | UIEOutputParser()
    chain.invoke({"text": "Ada Lovelace met Charles Babbage."})
    ```
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
        variables: Collection[str] = ("query", "task", "labels", "schema", "event"),
        answer_format: AnswerFormat | str | None = None,
        bare: bool = False,
    ) -> None:
        self.bare = bare
        self.variables = frozenset(variables)
        self.retriever = DemonstrationRetriever(store, selector, k, task, labels, event, text_key=text_key)
        self.answer_format = AnswerFormat(answer_format or self.retriever.tuned.answer_format)

    def __repr__(self) -> str:
        return f"RUIEExampleSelector({self.retriever!r})"

    def query(self, input_variables: Mapping[str, Any]) -> Query:
        """The query of a prompt's variables.

        Raises:
            ValueError: The variables have no text, or the task or labels are unknown.
        """
        return self.retriever.query(self._known(input_variables))

    def select_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The examples for an input.

        Args:
            input_variables: The variables of the prompt: the text, and perhaps ``task``, ``labels``, ``event``, or a
                whole ``query``.

        Raises:
            ValueError: The variables have no text, or the task or labels are unknown.
        """
        chosen = self.retriever.retrieve(self._known(input_variables))
        if self.retriever.tuned.order is Order.SIMILAR_LAST:
            chosen = chosen[::-1]
        return [self._as_dictionary(demonstration) for demonstration in chosen]

    async def aselect_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """``select_examples`` without blocking the event loop."""
        return await asyncio.to_thread(self.select_examples, input_variables)

    def add_example(self, example: Example | Mapping[str, Any]) -> str:
        """Add an example, or a row of one, to the store; adding it twice changes nothing.

        Returns:
            Its id.

        Raises:
            ValueError: The row is not a valid example.
        """
        valid = example if isinstance(example, Example) else Example.model_validate(dict(example))
        self.retriever.store.add([valid])
        return valid.content_id

    async def aadd_example(self, example: Example | Mapping[str, Any]) -> str:
        """``add_example`` without blocking the event loop."""
        return await asyncio.to_thread(self.add_example, example)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete examples from the store by their ids; unknown ids are ignored."""
        self.retriever.store.delete(ids)

    @property
    def instruction(self) -> str:
        """The instruction for the system message. Pass it as ``SystemMessage``: templates would interpret braces.

        Raises:
            ValueError: The pool holds several tasks, and none was given.
        """
        tasks = [self.retriever.task] if self.retriever.task else list(map(Task, self.retriever.store.tasks))
        # the instruction of event argument extraction is the same for every event
        event = EventQuery(type="?", trigger="?") if tasks == [Task.EAE] else None
        query = self.retriever.query("?", event=event)
        instruction = prompts.default_instruction(query.task, self.answer_format)
        return f"{instruction}\n\nSchema: [{', '.join(query.labels)}]" if self.bare else instruction

    @cached_property
    def input_prompt(self) -> HumanMessagePromptTemplate:
        """The last message of a chat template: the input, rendered like the demonstrations' inputs.

        It reads the variables that ``query`` reads: ``text``, else ``input``, or a whole ``query``; with ``text_key``
        the variable of that name.
        """
        # without text_key no variable is required: LangChain would refuse an input or a query, and not name text_key
        required = [self.retriever.text_key] if self.retriever.text_key else []
        return HumanMessagePromptTemplate(prompt=_InputPrompt(selector=self, input_variables=required))

    @cached_property
    def example_prompt(self) -> PromptTemplate:
        """The example prompt for ``FewShotPromptTemplate``; braces in texts and in JSON answers are safe in it.

        It requires ``template_format="f-string"``, the default: "jinja2" would execute texts as templates.
        """
        return _BraceSafePrompt.from_template("{input} {output}")

    @cached_property
    def chat_example_prompt(self) -> ChatPromptTemplate:
        """The example prompt for ``FewShotChatMessagePromptTemplate``: an input, and the answer to it."""
        return ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")])

    def render_input(self, query: Query) -> str:
        """An input as this selector shows it: its block up to ``Output:``, or only its text."""
        return prompts.one_line(query.text) if self.bare else prompts.render_query(query)

    def _known(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables without those that the prompt uses for something else."""
        return {name: value for name, value in variables.items() if name not in _FIELDS or name in self.variables}

    def _as_dictionary(self, demonstration: Demonstration) -> dict[str, Any]:
        example = demonstration.example
        return _Selected(
            input=self.render_input(example.query),
            output=prompts.render_answer(example, self.answer_format),
            text=example.text,
            task=example.task.value,
            labels=list(example.labels),
            score=demonstration.score,
            id=example.content_id,
        )


class _Selected(dict[str, Any]):
    """A selected example; a missing key raises an error that lists its keys."""

    def __missing__(self, key: str) -> Any:
        raise KeyError(f"an example has no {key!r}; write its prompt with {', '.join(f'{{{name}}}' for name in self)}")


class _InputPrompt(StringPromptTemplate):
    """The input of a prompt, written by a selector."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    selector: RUIEExampleSelector

    @override
    def format(self, **kwargs: Any) -> str:
        return self.selector.render_input(self.selector.query(kwargs))

    @property
    def _prompt_type(self) -> str:
        return "ruie_input"


class _BraceSafePrompt(PromptTemplate):
    """A template whose result is formatted again, as FewShotPromptTemplate does with its examples."""

    def format(self, **kwargs: Any) -> str:
        """The formatted text, its braces doubled."""
        return super().format(**kwargs).replace("{", "{{").replace("}", "}}")
