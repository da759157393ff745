"""The server and its tools."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from ruie_components._version import __version__
from ruie_components.errors import RuieError
from ruie_components.errors import explain as explain_error
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.store import DemonstrationStore
from ruie_components.tokenization import tokenize
from ruie_components.types import EventQuery, Example, Query, Task

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ASKS = ToolAnnotations(read_only_hint=True, open_world_hint=True)  # the chat model may be on another machine
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

_NAMED_LABELS = 50  # labels of a task in the instructions, which a client's model reads


class ExtractedSpan(BaseModel):
    """A span of the text with its label. Head and tail of a relation share an ``item``."""

    item: int
    type: str
    role: str
    span: str
    start: int = Field(description="Offset of the first character, in Unicode code points.")
    end: int = Field(description="Offset after the last character.")


class RejectedPart(BaseModel):
    """A rejected part of the model's answer."""

    reason: str
    label: str
    answer: str


class Extracted(BaseModel):
    """The extraction from a text."""

    spans: list[ExtractedSpan]
    rejected: list[RejectedPart]
    demonstrations: int
    truncated: bool = Field(description="Whether the answer was cut off at the token limit.")


class Retrieved(BaseModel):
    """A demonstration: a labelled example of the pool, and its score (higher is better)."""

    score: float
    id: str
    example: dict[str, Any]


class Retrieval(BaseModel):
    """The demonstrations for a text, best first."""

    demonstrations: list[Retrieved]


class Added(BaseModel):
    """An example that was added to the pool."""

    id: str
    new: bool = Field(description="False if the pool already had the example.")


class Explained(BaseModel):
    """A demonstration, and why it was chosen."""

    score: float
    reason: str = Field(description="Why the selection method chose it: ranks, votes, added labels.")
    text: str
    labels: dict[str, int] = Field(description="Its labels, and how often each occurs.")
    shared_words: list[str] = Field(description="Words shared with the text, in the text's order.")


class Explanation(BaseModel):
    """How the demonstrations for a text were chosen, and the prompt that shows them."""

    task: str
    labels: list[str]
    selector: str
    encoder: str
    demonstrations: list[Explained]
    labels_shown: dict[str, int] = Field(description="The number of demonstrations with each label.")
    labels_not_shown: list[str] = Field(description="Requested labels that no demonstration has.")
    prompt: str
    tokens: int = Field(description="Estimated tokens of the prompt.")


class _Server(MCPServer[Any]):
    """A server that explains wrong arguments of a call as the rest of the package explains wrong values."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool.

        Raises:
            ToolError: As the base class does; wrong arguments by name, each with what is allowed.
        """
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(cause := error.__cause__, ValidationError):
                raise
            # the base class logs the names of the wrong arguments by the cause
            raise ToolError(f"Error executing tool {name}: {explain_error(cause, whole='')}") from cause


def create_server(extractor: Extractor, *, read_only: bool = False) -> MCPServer[Any]:
    """An MCP server over one pool and one chat model.

    Args:
        extractor: The pool, the model, and the selection of demonstrations.
        read_only: Whether to leave out the tool that adds examples.

    ```python
    create_server(Extractor(store, "ollama:llama3.1:8b")).run("stdio")
    ```
    """
    store, retriever = extractor.store, extractor.retriever
    server = _Server(
        name="ruie",
        title="ruie-components",
        version=__version__,
        instructions=(
            "Information extraction with demonstrations from a pool of labelled examples. The pool "
            f"{store.pool!r} holds {'; '.join(_held(store, task) for task in store.tasks) or 'nothing'}. "
            "Give a task if the pool holds several. Give labels of the pool, or none for all. For EAE give the event."
        ),
        log_level="WARNING",
    )

    def query(text: str, task: Task | None, labels: list[str] | None, event: EventQuery | None) -> Query:
        return retriever.query(text, task=task, labels=labels or None, event=event)  # clients write [] for none

    @server.tool(annotations=_READS)
    async def retrieve(
        text: str,
        task: Task | None = None,
        labels: list[str] | None = None,
        event: EventQuery | None = None,
        k: int | None = None,
    ) -> Retrieval:
        """Find the labelled examples to show to a model for a text, best first."""
        with _tool_errors():
            request = await asyncio.to_thread(query, text, task, labels, event)
            shown = await retriever.aretrieve(request, k=k)
        return Retrieval(
            demonstrations=[
                Retrieved(score=one.score, id=one.example.content_id, example=one.example.to_row()) for one in shown
            ]
        )

    @server.tool(
        description="Extract entities, relations, events or event arguments as spans of a text, with the server's chat "
        "model. A text longer than the pool's examples is cut at sentence ends; offsets are those of the whole text.",
        annotations=_ASKS,
    )
    async def extract(
        text: str, task: Task | None = None, labels: list[str] | None = None, event: EventQuery | None = None
    ) -> Extracted:
        with _tool_errors():
            request = await asyncio.to_thread(query, text, task, labels, event)
            result = await extractor.aextract_document(request, progress=False)
            if result.error is not None:
                raise RuieError(result.error)
        return _extracted(result)

    @server.tool(annotations=_READS)
    async def explain(
        text: str, task: Task | None = None, labels: list[str] | None = None, event: EventQuery | None = None
    ) -> Explanation:
        """Explain which demonstrations are chosen for a text and why, and show the prompt. No model is called."""
        with _tool_errors():
            request = await asyncio.to_thread(query, text, task, labels, event)
            return await asyncio.to_thread(_explain, extractor, request)

    if not read_only:

        @server.tool(annotations=_ADDS)
        async def add_example(example: Example) -> Added:
            """Add a labelled example to the pool. Offsets are Unicode code points, the end is exclusive."""
            with _tool_errors():
                new = await asyncio.to_thread(store.add, [example])
            return Added(id=example.content_id, new=bool(new))

    return server


def _held(store: DemonstrationStore, task: Task) -> str:
    """The number of examples of a task, and their labels."""
    labels = store.labels(task)
    more = f" and {len(labels) - _NAMED_LABELS} more" if len(labels) > _NAMED_LABELS else ""
    return f"{store.count(task)} {task} (labels: {', '.join(labels[:_NAMED_LABELS])}{more})"


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Turn wrong calls and model failures into errors that the caller can read."""
    try:
        yield
    except ValidationError as error:
        raise ToolError(explain_error(error, whole="")) from error
    except (RuieError, ValueError, TypeError) as error:
        raise ToolError(str(error)) from error
    except Exception as error:  # of the model, which may be anyone's
        raise ToolError(f"{type(error).__name__}: {error}") from error


def _extracted(result: ExtractionResult) -> Extracted:
    names = ExtractedSpan.model_fields
    return Extracted(
        spans=[ExtractedSpan(**{name: row[name] for name in names}) for row in result.to_rows()],
        rejected=[
            RejectedPart(reason=str(part.reason), label=part.label, answer=part.answer)
            for part in result.extraction.rejected
        ],
        demonstrations=result.usage.demonstrations,
        truncated=result.usage.truncated,
    )


def _explain(extractor: Extractor, query: Query) -> Explanation:
    prompt = extractor.prompt(query)
    best_first = prompt.best_first
    occurring = Counter(label for shown in best_first for label in set(shown.example.annotation_labels))
    return Explanation(
        task=query.task.value,
        labels=list(query.labels),
        selector=f"{extractor.selector.method}, k={extractor.selector.k}",
        encoder=extractor.store.encoder.name,
        demonstrations=[
            Explained(
                score=shown.score,
                reason=str(shown.reason or ""),
                text=shown.example.text,
                labels=dict(Counter(shown.example.annotation_labels)),
                shared_words=_shared(query.text, shown.example.text),
            )
            for shown in best_first
        ],
        labels_shown=dict(occurring),
        labels_not_shown=[label for label in query.labels if label not in occurring],
        prompt=prompt.text,
        tokens=prompt.tokens,
    )


def _shared(text: str, other: str) -> list[str]:
    others = set(tokenize(other))
    return [word for word in dict.fromkeys(tokenize(text)) if word in others and any(map(str.isalnum, word))]
