"""Chat models: the protocol that an extractor calls."""

from ruie_components.chat.base import ChatModel, Constraint, Response, TokenProbability

__all__ = ["ChatModel", "Constraint", "Response", "TokenProbability"]
