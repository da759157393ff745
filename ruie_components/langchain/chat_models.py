"""Chat models by name, and whether an Ollama server is there."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel

from ruie_components.errors import ChatModelError
from ruie_components.langchain.baseline import CopyBaseline

_PORT = 11434
_PATIENCE = 2.0  # seconds: a server on this machine answers in milliseconds


def load_chat_model(name: str, **options: Any) -> BaseChatModel:
    """Load a chat model by its name.

    Args:
        name: ``ollama:<model>``, such as ``ollama:llama3.1:8b``, or ``baseline``, the offline floor that only copies
            from the demonstrations.
        options: For Ollama the fields of ``OllamaChat``, which are those of LangChain's ``ChatOllama``
            (``temperature``, ``num_predict``, ``num_ctx``, ``base_url``, ...) and ``timeout`` in seconds.

    Raises:
        ValueError: A name of another kind.
        ChatModelError: ``OLLAMA_HOST`` is no address.
        ImportError: The extra ``ollama`` is not installed.

    >>> load_chat_model("baseline").model
    'copy-baseline'
    """
    provider, _, model = name.partition(":")
    if provider == "baseline" and not model:
        return CopyBaseline(**options)
    if provider != "ollama" or not model:
        raise ValueError(
            f"{name!r} names no chat model: say ollama:<model>, such as ollama:llama3.1:8b, or baseline. "
            "Any other LangChain chat model can be given as an object."
        )
    ollama_url()  # Ollama's own client reads OLLAMA_HOST as it is imported, and does not name it
    try:
        from ruie_components.langchain.ollama import OllamaChat
    except ImportError as error:
        raise ImportError(
            'Ollama needs another package: pip install "ruie-components[ollama]"', name=error.name
        ) from error
    return OllamaChat(model=model, **options)


def ollama_url(host: str | None = None) -> str:
    """The address of an Ollama server.

    Args:
        host: As in ``OLLAMA_HOST``, which holds where it isn't given: an address, a host, a port, or a host and a
            port. A server that listens on all addresses (0.0.0.0) is asked on this machine's own.

    >>> ollama_url("0.0.0.0"), ollama_url(":8080"), ollama_url("https://llm.example")
    ('http://127.0.0.1:11434', 'http://127.0.0.1:8080', 'https://llm.example:443')
    """
    host = (host or os.environ.get("OLLAMA_HOST") or "").strip()
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or ({"http": 80, "https": 443}.get(scheme, _PORT) if separator else _PORT)
    except ValueError as error:
        raise ChatModelError(f"{host!r} is no address of an Ollama server ({error}): check OLLAMA_HOST") from error
    return f"{scheme}://{_reachable(parts.hostname)}:{port}{parts.path.rstrip('/')}"


def _reachable(hostname: str | None) -> str:
    if not hostname:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return hostname
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)


def client_options(url: str) -> dict[str, Any]:
    """Arguments of an HTTP client for a server: requests to this very machine take no proxy."""
    host = urlsplit(url).hostname or ""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    return {"trust_env": False} if here else {}


def ollama_is_up(host: str | None = None, *, timeout: float = _PATIENCE) -> bool:
    """Whether an Ollama server answers.

    Args:
        host: As in ``ollama_url``.
        timeout: Seconds to wait.
    """
    return _get(host, "/api/version", timeout) is not None


def ollama_models(host: str | None = None, *, timeout: float = _PATIENCE) -> list[str]:
    """The names of the chat models that an Ollama server has pulled; none where no server answers.

    Models for embeddings, which can't chat, are left out as far as their names or families tell.

    Args:
        host: As in ``ollama_url``.
        timeout: Seconds to wait.
    """
    listed = _get(host, "/api/tags", timeout) or {}
    return [model["name"] for model in listed.get("models") or [] if "name" in model and not _embeds(model)]


def _embeds(model: dict[str, Any]) -> bool:
    family = (model.get("details") or {}).get("family") or ""
    return "embed" in model["name"] or "bert" in family


def _get(host: str | None, path: str, timeout: float) -> dict[str, Any] | None:
    import httpx

    try:
        url = ollama_url(host)
        response = httpx.get(url + path, timeout=timeout, **client_options(url))
        found = response.json() if response.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ChatModelError):
        return None
    return found if isinstance(found, dict) else None
