"""Chat models: the protocol that an extractor calls, and adapters for names, objects and functions."""

from ruie_components.chat.adapters import AnyChatModel, as_chat_model, load_chat_model
from ruie_components.chat.base import ChatModel, Constraint, MessageList, ModelInput, Response, TokenProbability
from ruie_components.chat.baseline import CopyBaseline
from ruie_components.chat.cut_prompts import PromptCutWarning
from ruie_components.chat.local import local_chat_model
from ruie_components.chat.servers import ollama_models

__all__ = [
    "AnyChatModel",
    "ChatModel",
    "Constraint",
    "CopyBaseline",
    "MessageList",
    "ModelInput",
    "PromptCutWarning",
    "Response",
    "TokenProbability",
    "as_chat_model",
    "load_chat_model",
    "local_chat_model",
    "ollama_models",
]
