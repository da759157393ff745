"""The retriever: demonstrations for an input, as LangChain documents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import ConfigDict, Field
from typing_extensions import override

from ruie_components import prompts
from ruie_components.retrieval import DemonstrationRetriever, QueryInput
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, EventQuery, Task

SearchResult = list[Document] | Exception


class RUIERetriever(BaseRetriever):
    """Retrieves demonstrations for an input text.

    Setup:
        ``pip install ruie-components``

    Key init args:
        store: The pool of demonstrations.
        k: The number of documents. Default: the selector's, else as tuned, else 4.
        task, labels, event: Defaults of inputs; each call can override them. The task defaults to the pool's only task,
        the labels to all its labels. Event argument extraction needs the event: ``EventQuery``.
        selector: How demonstrations are chosen. Default: as tuned, else ``Selector()``.

    Instantiate:
        ```python
        from ruie_components import DemonstrationStore
        from ruie_components.langchain import RUIERetriever

        retriever = RUIERetriever(store=DemonstrationStore.open("pool"), task="NER", k=4)
        ```

    Usage:
        ```python
        retriever.invoke("Ada Lovelace met Charles Babbage in London.")
        retriever.invoke("Ada Lovelace met Charles Babbage.", k=2, labels=["person"])
        retriever.batch(["Ada slept.", "Bob ran."])  # one search for all
        ```

        Documents come best first. ``page_content`` is the block that a prompt shows, ``id`` the hash of the example's
        content, ``metadata`` has the ``score``, ``task``, ``labels``, ``text``, ``answer``, and the whole ``example``
        as a row.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: DemonstrationStore
    k: int | None = Field(default=None, ge=0)
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    event: EventQuery | None = None
    selector: Selector | None = None

    @override
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
        result: SearchResult | None = None,
    ) -> list[Document]:
        if result is None:
            (result,) = self._search([query], k=k, task=task, labels=labels, event=event)
        if isinstance(result, Exception):
            raise result
        return result

    @override
    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
        result: SearchResult | None = None,
    ) -> list[Document]:
        return await asyncio.to_thread(
            self._get_relevant_documents,
            query,
            run_manager=run_manager.get_sync(),
            k=k,
            task=task,
            labels=labels,
            event=event,
            result=result,
        )

    @override
    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Retrieve for many inputs, which are encoded and searched together; each has its own run."""
        results: list[SearchResult] = []
        for text, one, result in zip(
            inputs, get_config_list(config, len(inputs)), self._search(inputs, **kwargs), strict=True
        ):
            try:
                results.append(self.invoke(text, one, result=result))
            except Exception as error:
                if not return_exceptions:
                    raise
                results.append(error)
        return cast("list[list[Document]]", results)  # as in LangChain: return errors only if the caller asked for them

    @override
    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """``batch`` without blocking the loop."""
        searched = await asyncio.to_thread(self._search, inputs, **kwargs)
        runs = [
            self.ainvoke(text, one, result=result)
            for text, one, result in zip(inputs, get_config_list(config, len(inputs)), searched, strict=True)
        ]
        results = await asyncio.gather(*runs, return_exceptions=return_exceptions)
        return cast("list[list[Document]]", results)  # as in LangChain: return errors only if the caller asked for them

    def _search(
        self,
        inputs: Sequence[QueryInput],
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> list[SearchResult]:
        """The documents of every input, or the error of an input that can't be searched."""
        task = task or self.task  # tuned settings are those of a task
        retriever = DemonstrationRetriever(self.store, self.selector, self.k, task, self.labels, self.event)
        chosen = retriever.retrieve_many(inputs, k=k, task=task, labels=labels, event=event)
        return [one if isinstance(one, Exception) else list(map(to_document, one)) for one in chosen]

    @override
    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            ls_retriever_name="ruie",
            ls_vector_store_provider="Chroma",
            ls_embedding_provider="ruie-components",
            ls_embedding_model=self.store.encoder.name,
        )


def to_document(demonstration: Demonstration) -> Document:
    """A demonstration as a LangChain document."""
    example = demonstration.example
    metadata: dict[str, Any] = {
        "score": demonstration.score,
        "task": example.task.value,
        "labels": list(example.labels),
        "text": example.text,
        "answer": prompts.render_answer(example),
        "example": example.to_row(),
    }
    return Document(id=example.content_id, page_content=prompts.render_demonstration(example), metadata=metadata)
