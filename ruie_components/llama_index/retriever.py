"""The retriever: demonstrations for an input, as LlamaIndex nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from ruie_components.prompts import render_demonstration
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, EventQuery, Task


class RUIERetriever(BaseRetriever):
    """Demonstrations for a text, as LlamaIndex nodes, best first.

    A node's text is the demonstration's block in a prompt, its metadata the example's row, its id the hash of the
    example's content.

    Args:
        store: The pool.
        k: The number of demonstrations. Default: the selector's, else as tuned, else 4.
        task: The task. Default: the pool's only task.
        labels: The labels to extract. Default: all of the pool.
        event: For EAE, the event whose arguments to extract.
        selector: How demonstrations are chosen. Default: as tuned, else ``Selector()``.
        kwargs: Arguments of ``BaseRetriever``.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._retriever = DemonstrationRetriever(store, selector, k, task, labels, event)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(one) for one in self._retriever.retrieve(query_bundle.query_str)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The store computes in this process or waits for a server; either would block the event loop.
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(shown: Demonstration) -> NodeWithScore:
    example = shown.example
    node = TextNode(id_=example.content_id, text=render_demonstration(example), metadata=example.to_row())
    # The block already contains the row, so no metadata belongs in a prompt or an embedding.
    node.excluded_llm_metadata_keys = node.excluded_embed_metadata_keys = list(node.metadata)
    return NodeWithScore(node=node, score=shown.score)
