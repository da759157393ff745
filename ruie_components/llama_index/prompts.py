"""The few-shot prompt template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.prompts import RichPromptTemplate

from ruie_components.prompts import Message, build_prompt
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import EventQuery, Task

_TEMPLATE = """\
{% for role, content in messages %}
{% if role == "system" %}{% chat role="system" %}{{ content }}{% endchat %}{% endif %}
{% if role == "human" %}{% chat role="user" %}{{ content }}{% endchat %}{% endif %}
{% if role == "ai" %}{% chat role="assistant" %}{{ content }}{% endchat %}{% endif %}
{% endfor %}
"""


def few_shot_prompt(
    store: DemonstrationStore,
    *,
    k: int | None = None,
    task: Task | str | None = None,
    labels: Sequence[str] | None = None,
    event: EventQuery | Mapping[str, Any] | None = None,
    selector: Selector | None = None,
    **options: Any,
) -> RichPromptTemplate:
    """A chat prompt that retrieves its demonstrations when it is formatted, the most similar last.

    ```python
    prompt = few_shot_prompt(store, task="NER", k=4)
    llm.predict(prompt, text="Ada Lovelace met Charles Babbage.")
    prompt.format_messages(text="Ada slept.", labels=["person"])  # task, labels, event: for this text only
    ```

    Formatting searches the store, and LlamaIndex formats in the event loop: in async code, format in a thread.

    Args:
        store: The pool.
        k: The number of demonstrations. Default: the selector's, else as tuned, else 4.
        task: The task. Default: the pool's only task.
        labels: The labels to extract. Default: all of the pool.
        event: For EAE, the event whose arguments to extract.
        selector: How demonstrations are chosen. Default: as tuned, else ``Selector()``.
        options: Options of ``prompts.build_prompt``: ``answer_format`` and ``order`` (default: as tuned),
            ``max_tokens``, ``count_tokens``, ``instruction``.
    """
    retriever = DemonstrationRetriever(store, selector, k, task, labels, event)
    options = {"answer_format": retriever.tuned.answer_format, "order": retriever.tuned.order, **options}

    def messages(**given: Any) -> list[Message]:
        query = retriever.query(given)
        return build_prompt(query, retriever.retrieve(query), **options).messages

    return RichPromptTemplate(_TEMPLATE, template_vars=["text"], function_mappings={"messages": messages})
