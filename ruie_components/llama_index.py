"""The retriever, output parser, few-shot prompt, chat model adapter and embedding for LlamaIndex.

All of them work over the very same store and encoder as the LangChain components.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruie_components import answers
from ruie_components.encoders import Encoder
from ruie_components.extraction.calling import openai_schema
from ruie_components.prompts import AnswerFormat, Message, build_prompt, default_instruction, render_demonstration
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, EventQuery, Extraction, Query, Task

try:
    from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
    from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
    from llama_index.core.embeddings import BaseEmbedding
    from llama_index.core.llms import LLM
    from llama_index.core.output_parsers import BaseOutputParser
    from llama_index.core.prompts import RichPromptTemplate
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise ImportError(
        f'LlamaIndex can\'t be imported ({error}): pip install "ruie-components[llama-index]"', name=error.name
    ) from error


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
        return [_node(shown) for shown in self._retriever.retrieve(query_bundle.query_str)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The store works in this process or waits for a server: either would hold the event loop up.
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(shown: Demonstration) -> NodeWithScore:
    example = shown.example
    node = TextNode(id_=example.content_id, text=render_demonstration(example), metadata=example.to_row())
    # The block holds all of it already: nothing of the row belongs in a prompt or an embedding a second time.
    node.excluded_llm_metadata_keys = node.excluded_embed_metadata_keys = list(node.metadata)
    return NodeWithScore(node=node, score=shown.score)


class UIEOutputParser(BaseOutputParser):
    """Reads a model's answer to one query as spans of its text.

    Args:
        query: What was asked.
        demonstrations: Those that stood in the prompt, so that what leaked from them is told apart.
        answer_format: The form that ``format`` asks for. Both forms are read whatever it says.
        strict: Raise where an answer can't be read, instead of listing it in ``Extraction.rejected``.
    """

    def __init__(
        self,
        query: Query,
        demonstrations: Sequence[Demonstration] = (),
        *,
        answer_format: AnswerFormat | str = AnswerFormat.LINEAR,
        strict: bool = False,
    ) -> None:
        self.query = query
        self.demonstrations = tuple(demonstrations)
        self.answer_format = AnswerFormat(answer_format)
        self.strict = strict

    def parse(self, output: str) -> Extraction:
        """Read the answer.

        Raises:
            AnswerError: In strict mode, an answer that can't be read.
        """
        return answers.parse(output, self.query, strict=self.strict, demonstrations=self.demonstrations)

    def format(self, query: str) -> str:
        """The prompt's text, with the task's instruction before it where it isn't there yet."""
        instruction = default_instruction(self.query.task, self.answer_format)
        return query if instruction in query else f"{instruction}\n\n{query}"


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
    """A chat prompt that finds its demonstrations when it is formatted, the most similar last.

    .. code-block:: python

        prompt = few_shot_prompt(store, task="NER", k=4)
        llm.predict(prompt, text="Ada Lovelace met Charles Babbage.")
        prompt.format_messages(text="Ada slept.", labels=["person"])  # task, labels, event: for this text alone

    It searches as it is formatted, and LlamaIndex formats in the event loop: in async code format it in a thread.

    Args:
        store: The pool.
        k: How many demonstrations. The selector's own number where one is given, else 8.
        task: The task asked for. Default: the pool's only task.
        labels: The labels asked for. Default: all of the pool.
        event: For EAE, the event whose arguments are asked for.
        selector: How demonstrations are chosen. Default: ``Selector()``.
        options: Those of ``prompts.build_prompt``: ``answer_format``, ``max_tokens``, ``count_tokens``,
            ``instruction``.
    """
    retriever = DemonstrationRetriever(store, selector, k, task, labels, event)

    def messages(**given: Any) -> list[Message]:
        query = retriever.query(given)
        return build_prompt(query, retriever.retrieve(query), **options).messages

    return RichPromptTemplate(_TEMPLATE, template_vars=["text"], function_mappings={"messages": messages})


@dataclass(frozen=True)
class LlamaIndexAnswer:
    """What a LlamaIndex LLM said, as an ``Extractor`` reads it."""

    text: str
    usage_metadata: dict[str, int] = field(default_factory=dict)
    """``input_tokens`` and ``output_tokens``, where the LLM says them."""
    response_metadata: dict[str, Any] = field(default_factory=dict)
    """``finish_reason``: why the answer ended, where the LLM says it."""


class LlamaIndexChat:
    """A LlamaIndex LLM as the chat model of an ``Extractor``: ``Extractor(store, LlamaIndexChat(llm))``.

    With ``answer_format="json"`` the LLMs of Ollama and of OpenAI, and those built on the latter, are held to the JSON
    schema. Others have the instruction alone.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    @property
    def model_name(self) -> str:
        """The LLM's name for its model."""
        return self.llm.metadata.model_name

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("temperature", "max_tokens", "context_window", "additional_kwargs")
        return {name: getattr(self.llm, name) for name in names if hasattr(self.llm, name)}

    def schema_options(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the LLM's ``chat`` that hold it to a JSON schema."""
        classes = {base.__name__ for base in type(self.llm).__mro__}
        if "Ollama" in classes:
            return {"format": schema}
        return openai_schema(schema) if "OpenAI" in classes else {}

    def invoke(self, messages: Sequence[Message], **options: Any) -> LlamaIndexAnswer:
        """Ask the LLM. ``options`` go to its ``chat``."""
        return _answer(self.llm.chat(_chat_messages(messages), **options))

    async def ainvoke(self, messages: Sequence[Message], **options: Any) -> LlamaIndexAnswer:
        """Ask the LLM by its ``achat``."""
        return _answer(await self.llm.achat(_chat_messages(messages), **options))


_ROLES = {"system": MessageRole.SYSTEM, "human": MessageRole.USER, "ai": MessageRole.ASSISTANT}


def _chat_messages(messages: Sequence[Message]) -> list[ChatMessage]:
    return [ChatMessage(role=_ROLES[role], content=content) for role, content in messages]


# LlamaIndex leaves the names to each provider. OpenAI, Anthropic, Google, Ollama:
_INPUT_TOKENS = ("prompt_tokens", "input_tokens", "prompt_token_count", "prompt_eval_count")
_OUTPUT_TOKENS = ("completion_tokens", "output_tokens", "candidates_token_count", "eval_count")


def _answer(response: ChatResponse) -> LlamaIndexAnswer:
    raw = _mapping(response.raw)
    places = (response.additional_kwargs, _mapping(raw.get("usage") or raw.get("usage_metadata")), raw)
    usage = {}
    for name, keys in (("input_tokens", _INPUT_TOKENS), ("output_tokens", _OUTPUT_TOKENS)):
        said = [place[key] for place in places for key in keys if isinstance(place.get(key), int)]
        if said:
            usage[name] = said[0]
    return LlamaIndexAnswer(response.message.content or "", usage, {"finish_reason": _finish_reason(raw)})


def _finish_reason(raw: Mapping[str, Any]) -> Any:
    """Why an answer ended, in the words of Ollama, Anthropic, or OpenAI."""
    choices = raw.get("choices") or [{}]
    return raw.get("done_reason") or raw.get("stop_reason") or _mapping(choices[0]).get("finish_reason")


def _mapping(value: Any) -> Mapping[str, Any]:
    """What a provider's response holds: a mapping, a pydantic model, or something that says nothing."""
    if isinstance(value, BaseModel):
        return dict(value)
    return value if isinstance(value, Mapping) else {}


class RUIEEmbedding(BaseEmbedding):
    """Embeds with the encoder of this package, for a LlamaIndex index of your own: texts as passages.

    A pool's vectors come from blocks with keyword tags (``prompts.render_passage``). Of plain texts the vectors are
    still useful, but not the ones a store holds.

    Args:
        encoder: From ``load_encoder``, or a store's ``encoder``.
        kwargs: What ``BaseEmbedding`` takes.
    """

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: Encoder, **kwargs: Any) -> None:
        super().__init__(model_name=encoder.name, **kwargs)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex shows."""
        return "RUIEEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(number) for number in self._encoder.encode_queries([query])[0]]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(number) for number in vector] for vector in self._encoder.encode_passages(texts)]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
