"""Loads chat models by name; each package is imported only when it is needed."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ruie_components.chat.baseline import CopyBaseline
from ruie_components.chat.openai_batch import BatchAnswers
from ruie_components.chat.servers import client_options, ollama_url, only_model
from ruie_components.errors import ChatModelError

_NAMES = (
    "ollama:MODEL such as ollama:llama3.1:8b, gguf:PATH, openai:MODEL, another PROVIDER:MODEL of LangChain's, the URL "
    "of a server that speaks OpenAI's protocol, openai-batch:ANSWERS, or baseline"
)

_REASONS = re.compile(r"o\d")
"""The names of OpenAI's models that refuse a temperature. LangChain leaves it out for the later ones itself."""


def load_model(name: str, **options: Any) -> Any:
    """The model of a name, as an object of its framework. See ``adapters.load_chat_model``."""
    provider, _, model = name.partition(":")
    if provider == "baseline" and not model:
        if options:
            raise ValueError(f"the baseline has no options, got {', '.join(options)}")
        return CopyBaseline()
    if not provider or not model or not model.strip("/"):
        raise ValueError(f"{name!r} is not the name of a chat model: give {_NAMES}")
    match provider:
        case "ollama":
            return _ollama(model, options)
        case "gguf":
            from ruie_components.chat.gguf import GgufChat

            return GgufChat(model, **_checked(options, GgufChat, "a GGUF file"))
        case "openai-batch":
            return BatchAnswers(model, **_checked(options, BatchAnswers, "a folder of batch answers"))
        case "openai":
            return _openai(model, options)
        case "http" | "https":
            return _openai(only_model(name), {**options, "base_url": name})
        case _:
            return _init_chat_model(name, provider, options)


def _ollama(model: str, options: dict[str, Any]) -> Any:
    ollama_url()  # Ollama's own client reads OLLAMA_HOST on import, and its error does not name it
    try:
        from ruie_components.chat.ollama import OllamaChat
    except ImportError as error:
        raise _missing("Ollama", "ruie-components[ollama]", error) from error
    _refuse_unknown(options, OllamaChat.model_fields, "an Ollama model", _option_names(OllamaChat))
    return OllamaChat(model=model, **options)


def _checked(options: dict[str, Any], model: type, what: str) -> dict[str, Any]:
    """The options of a model of this package, which all are named arguments."""
    names = [
        name
        for name, each in inspect.signature(model).parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    _refuse_unknown(options, names, what, names)
    return options


def _refuse_unknown(options: dict[str, Any], known: Iterable[str], what: str, named: Sequence[str]) -> None:
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"{what} has no option {unknown[0]!r}; it has {', '.join(named) or 'none'}")


def _option_names(model: Any) -> list[str]:
    base = {"cache", "callbacks", "custom_get_token_ids", "metadata", "name", "output_version", "rate_limiter", "tags"}
    return sorted(name for name in model.model_fields.keys() - base - {"model"} if not name.startswith("_"))


def _openai(model: str, options: dict[str, Any]) -> Any:
    try:
        from langchain_openai import ChatOpenAI
    except ImportError as error:
        raise _missing("OpenAI's protocol", "langchain-openai", error) from error
    base_url = options.get("base_url") or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    fields = ChatOpenAI.model_fields
    names = {*fields, *(field.alias for field in fields.values() if field.alias)}
    _refuse_unknown(options, names, "a model with OpenAI's protocol", _option_names(ChatOpenAI))
    if base_url or not _REASONS.match(model):
        options = {"temperature": 0.0, **options}
    if base_url:
        options["base_url"] = str(base_url)  # the settings name the server, also where the environment does
        if "api_key" not in options and not os.environ.get("OPENAI_API_KEY"):
            options["api_key"] = "none"  # your own server accepts any key
        if client := client_options(str(base_url)):
            import httpx

            timeout = {"timeout": options["timeout"]} if options.get("timeout") else {"timeout": 300.0}
            options.setdefault("http_client", httpx.Client(**client, **timeout))
            # without kept connections: they belong to one event loop, and a program may run several
            limits = httpx.Limits(max_keepalive_connections=0)
            options.setdefault("http_async_client", httpx.AsyncClient(**client, **timeout, limits=limits))
    elif "api_key" not in options and not os.environ.get("OPENAI_API_KEY"):
        raise ChatModelError("OpenAI needs a key: set OPENAI_API_KEY, or give base_url for your own server")
    return ChatOpenAI(model=model, max_retries=0, **options)  # retries are the extractor's


def _init_chat_model(name: str, provider: str, options: dict[str, Any]) -> Any:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise _missing(f"{name!r}", "langchain", error) from error  # which then names the provider's package
    try:
        return init_chat_model(name, **options)
    except ImportError as error:  # it names the package, which may be called otherwise than the provider
        raise ImportError(f"{name!r} can't be loaded: {error}", name=error.name) from error
    except ValueError as error:
        if str(error).startswith(("Unsupported", "Unable to infer")):  # and the names of all providers
            raise ValueError(
                f"{name!r} can't be loaded: LangChain has no provider {provider!r}. For a model of Ollama's give "
                f"ollama:{name}, for a file gguf:{name}, for a server http://{name}; or {_NAMES}"
            ) from error
        raise ValueError(f"{name!r} can't be loaded: {error}. Give {_NAMES}") from error
    except Exception as error:  # of the provider's client, for example without a key
        raise ChatModelError(f"{name!r} can't be loaded: {type(error).__name__}: {error}") from error


def _missing(what: str, package: str, error: ImportError) -> ImportError:
    quoted = f'"{package}"' if "[" in package else package
    return ImportError(f"{what} needs another package: pip install {quoted}", name=error.name)
