"""The retriever: for an input its demonstrations, as LlamaIndex nodes."""

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

    A node's text is the demonstration's block as the prompt shows it, its metadata the example's row, its id the
    hash of the example's content.

    Args:
        store: The pool.
        k: How many demonstrations. The selector's own number where one is given, else 8.
        task: The task asked for. Default: the pool's only task.
        labels: The labels asked for. Default: all of the pool.
        event: For EAE, the event whose arguments are asked for.
        selector: How demonstrations are chosen. Default: ``Selector()``.
        kwargs: What ``BaseRetriever`` takes.
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
        # The store works in this process or waits for a server: either would hold the event loop up.
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(shown: Demonstration) -> NodeWithScore:
    example = shown.example
    node = TextNode(id_=example.content_id, text=render_demonstration(example), metadata=example.to_row())
    # The block holds all of it already: nothing of the row belongs in a prompt or an embedding a second time.
    node.excluded_llm_metadata_keys = node.excluded_embed_metadata_keys = list(node.metadata)
    return NodeWithScore(node=node, score=shown.score)
