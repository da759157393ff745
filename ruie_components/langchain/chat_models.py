"""LangChain chat models: by name, and from any chat model of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict
from typing_extensions import override

from ruie_components.chat import (
    AnyChatModel,
    ChatModel,
    Constraint,
    MessageList,
    Response,
    TokenProbability,
    as_chat_model,
)
from ruie_components.chat.adapters import FunctionModel, LangChainModel
from ruie_components.chat.loading import load_model
from ruie_components.prompts import Message


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Load a chat model by its name, as a LangChain chat model.

    Args:
        name: As for ``ruie_components.chat.load_chat_model``: ``baseline``, ``ollama:MODEL``, ``gguf:PATH``,
            ``openai:MODEL``, ``PROVIDER:MODEL`` or a URL.
        options: The model's options.

    Raises:
        ValueError: The form of the name is unknown, or an option is unknown or of a wrong type.
        ChatModelError: ``OLLAMA_HOST`` is not an address, or a key that the provider needs is missing.
        ImportError: The package that the model needs is not installed; the message names it.

    >>> load_chat_model("baseline").invoke("Hello").text
    'None'
    """
    model = load_model(name, **options)
    return model if isinstance(model, BaseChatModel) else RUIEChatModel(chat_model=model)


def to_runnable(model: AnyChatModel) -> Any:
    """A chat model as a Runnable, so that callbacks and tracing reach it; a LangChain model is returned unchanged.

    Raises:
        TypeError: It is not a chat model.
    """
    adapted = as_chat_model(model)
    return adapted.model if isinstance(adapted, LangChainModel) else RUIEChatModel(chat_model=adapted)


class RUIEChatModel(BaseChatModel):
    """A chat model of this package as a LangChain chat model: ``baseline``, ``gguf:PATH``, a function, etc.

    Setup:
        ``pip install ruie-components``

    Key init args:
        chat_model: A ``ruie_components.chat.ChatModel``. Options such as temperature are set on it, not here.
        stop: Stop sequences, which end an answer before them.

    Instantiate:
        ```python
        from ruie_components.chat import CopyBaseline
        from ruie_components.langchain import RUIEChatModel

        model = RUIEChatModel(chat_model=CopyBaseline())
        ```

    Usage:
        ```python
        model.invoke([("human", "...")], constraint=Constraint(json_schema={...}))
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    chat_model: ChatModel
    stop: list[str] | None = None

    @override
    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        if self.cache is None and isinstance(self.chat_model, FunctionModel):
            self.cache = False  # LangChain's global cache could not tell two functions apart

    @property
    def model_name(self) -> str:
        """The chat model's name."""
        return self.chat_model.name

    @property
    def constraints(self) -> frozenset[str]:
        """The fields of ``Constraint`` that ``invoke(..., constraint=...)`` supports."""
        return self.chat_model.constraints

    @property
    def _llm_type(self) -> str:
        return "ruie-components"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        stop = {"stop_sequences": self.stop} if self.stop else {}
        return {"model": self.chat_model.name, **self.chat_model.settings, **stop}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"], params["ls_model_name"] = "ruie-components", kwargs.get("model", self.chat_model.name)
        return params

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        constraint: Constraint | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.chat_model.complete(_input(messages), constraint=constraint), stop)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        constraint: Constraint | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self.chat_model.acomplete(_input(messages), constraint=constraint), stop)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        constraint: Constraint | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if stop := stop or self.stop:  # a stop sequence may be spread over several pieces
            pieces = iter([_until(self.chat_model.complete(_input(messages), constraint=constraint), stop)])
        else:
            pieces = self.chat_model.stream(_input(messages), constraint=constraint)
        for piece in pieces:
            chunk = self._chunk(piece)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        constraint: Constraint | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if stop := stop or self.stop:
            yield self._chunk(_until(await self.chat_model.acomplete(_input(messages), constraint=constraint), stop))
            return
        async for piece in self.chat_model.astream(_input(messages), constraint=constraint):
            chunk = self._chunk(piece)
            if run_manager:
                await run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    def _result(self, response: Response, stop: list[str] | None) -> ChatResult:
        response = _until(response, stop or self.stop or ())
        message = AIMessage(
            response.text, usage_metadata=_usage(response), response_metadata=self._response_metadata(response)
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _chunk(self, piece: Response) -> ChatGenerationChunk:
        usage = _usage(piece)
        metadata = self._response_metadata(piece) if usage or piece.truncated else {}
        return ChatGenerationChunk(
            message=AIMessageChunk(content=piece.text, usage_metadata=usage, response_metadata=metadata)
        )

    def _response_metadata(self, response: Response) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "model_name": self.chat_model.name,
            "finish_reason": "length" if response.truncated else "stop",
        }
        if response.tokens:  # in the format of OpenAI's protocol
            metadata["logprobs"] = {"content": [_logprob(token) for token in response.tokens]}
        return metadata


def _logprob(token: TokenProbability) -> dict[str, Any]:
    likely = [{"token": text, "logprob": logprob} for text, logprob in token.alternatives]
    return {"token": token.text, "logprob": token.logprob, "top_logprobs": likely}


_ROLES = {"system": "system", "ai": "ai", "AIMessageChunk": "ai"}


def _input(messages: Sequence[BaseMessage]) -> MessageList:
    pairs: list[Message] = []
    for message in messages:
        role = _ROLES.get(message.type, "human")
        pairs.append((role, str(message.text)))  # type: ignore[arg-type]  # the roles are those of Message
    return MessageList(pairs)


def _until(response: Response, stop: Sequence[str]) -> Response:
    """The response up to the first stop sequence."""
    end = min((at for sequence in stop if (at := response.text.find(sequence)) >= 0), default=None)
    if end is None:
        return response
    return Response(response.text[:end], response.input_tokens, response.output_tokens)


def _usage(response: Response) -> UsageMetadata | None:
    if response.input_tokens is None and response.output_tokens is None:
        return None
    read, written = response.input_tokens or 0, response.output_tokens or 0
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
