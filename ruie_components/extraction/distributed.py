"""A small object that a cluster engine can send to its workers: it writes prompts and parses answers in batches.

No engine is imported. ``examples/ray_data.py`` and ``examples/spark.py`` show it in Ray Data and Spark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruie_components.extraction.documents import Chunking, DocumentResult, Plan
    from ruie_components.extraction.extractor import Extractor
    from ruie_components.prompts import Prompt
    from ruie_components.retrieval import QueryInput


@dataclass
class BatchExtractor:
    """Extracts from batches of documents. It is picklable: it opens its store on the worker, on first use.

    ```python
    batches = BatchExtractor("http://chroma:8000", options={"k": 8})
    requests = batches.prompts_for(texts)           # to any engine: {"id", "document", "messages"}
    results = batches.parse(answers, texts)         # answers by id: results in the order of the texts

    BatchExtractor("pool", model="http://localhost:8000/v1").extract(texts)    # with its own model
    ```

    Args:
        store: The folder of a store that every worker can read, or the URL of a Chroma server; ``None`` for the
            starter pool.
        model: The name of a chat model, for ``extract`` and ``__call__``.
        pool: The name of the pool in the store.
        model_options: Options of the model.
        options: Arguments of ``Extractor``: ``k``, ``task``, ``labels``, ``answer_format``, ``max_tokens``, ...
        chunking: How to cut long documents; ``None``: ``Chunking()``.
        concurrency: Concurrent requests of one worker.
    """

    store: str | None
    model: str | None = None
    pool: str = "default"
    model_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    chunking: Chunking | None = None
    concurrency: int = 4

    def __post_init__(self) -> None:
        self._opened: Extractor | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_opened", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def extractor(self) -> Extractor:
        """The extractor of this process; its first use opens the store."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Extractor:
        from ruie_components.chat import load_chat_model
        from ruie_components.extraction.extractor import Extractor
        from ruie_components.starter import starter_store
        from ruie_components.store import DemonstrationStore

        model: Any = _no_model if self.model is None else load_chat_model(self.model, **self.model_options)
        store = starter_store() if self.store is None else DemonstrationStore.open(self.store, pool=self.pool)
        return Extractor(store, model, **self.options)

    def close(self) -> None:
        """Close the store. The next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.store.close()
                self._opened = None

    def prompts_for(self, batch: Sequence[QueryInput]) -> list[dict[str, Any]]:
        """The requests of a batch: one for each chunk of each document.

        Args:
            batch: Texts, or mappings with ``text`` and other keys, as for ``Extractor.extract``.

        Returns:
            Rows with ``id``, a hash of the messages, ``document``, the index in the batch, and ``messages``, as
            OpenAI's protocol writes them. Equal requests have one id and need one answer.

        Raises:
            ValueError: A document is not a valid input.
        """
        from ruie_components.chat.openai_batch import openai_messages, request_id

        rows = []
        for i, (_, prompts) in enumerate(self._prompts(batch)):
            for prompt in prompts:
                if isinstance(prompt, Exception):
                    raise prompt
                rows.append({"id": request_id(prompt), "document": i, "messages": openai_messages(prompt)})
        return rows

    def parse(self, answers: Mapping[str, str], batch: Sequence[QueryInput]) -> list[DocumentResult]:
        """The results of a batch, in its order.

        Args:
            answers: The answers' texts by the ids of ``prompts_for``, for this batch or more.
            batch: The documents given to ``prompts_for``, with the same pool and options.
        """
        from ruie_components.chat import Response
        from ruie_components.chat.openai_batch import request_id
        from ruie_components.errors import ChatModelError
        from ruie_components.extraction.documents import merge
        from ruie_components.extraction.results import failed

        results = []
        for plan, prompts in self._prompts(batch):
            parts = []
            for query, prompt in zip(plan.queries, prompts, strict=True):
                if isinstance(prompt, Exception):
                    parts.append(failed(query, None, prompt))
                elif (answer := answers.get(key := request_id(prompt))) is None:
                    parts.append(failed(query, prompt, ChatModelError(f"there is no answer to request {key}")))
                else:
                    parts.append(self.extractor.read(prompt, Response(answer)))
            results.append(merge(plan, parts))
        return results

    def _prompts(self, batch: Sequence[QueryInput]) -> list[tuple[Plan, list[Prompt | Exception]]]:
        extractor = self.extractor
        plans = [extractor.plan(document, self.chunking) for document in batch]
        prompts = iter(extractor.prompts([query for plan in plans for query in plan.queries]))
        return [(plan, [next(prompts) for _ in plan.queries]) for plan in plans]

    def extract(self, batch: Iterable[QueryInput]) -> list[DocumentResult]:
        """Extract from a batch with the model of this object; a document that fails has an ``error``.

        Raises:
            ValueError: The object has no model, or a document is not a valid input.
        """
        if self.model is None:
            raise ValueError("this BatchExtractor has no model: give model=, or use prompts_for and parse")
        return self.extractor.extract_documents(batch, self.chunking, progress=False, concurrency=self.concurrency)

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Extract from a batch of columns, as in Ray Data and pandas.

        Args:
            columns: A column ``text``, and perhaps ``id`` and others, which are returned unchanged.

        Returns:
            The columns, and ``result``: the row of each result as JSON.
        """
        given = {name: list(columns[name]) for name in columns}
        results = self.extract([str(text) for text in given["text"]])
        return {**given, "result": [json.dumps(result.to_row(), ensure_ascii=False) for result in results]}


def _no_model(messages: Any) -> str:
    """A placeholder for the model, which ``prompts_for`` and ``parse`` never call."""
    raise NotImplementedError(messages)
