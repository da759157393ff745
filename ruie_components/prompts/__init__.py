"""Renders queries, demonstrations, answers and whole prompts."""

from ruie_components.prompts.blocks import (
    JSON_NAMES,
    NOTHING,
    TASK_NAMES,
    AnswerFormat,
    Layout,
    one_line,
    render_answer,
    render_demonstration,
    render_passage,
    render_query,
    render_search_query,
)
from ruie_components.prompts.prompt import (
    MESSAGE_OVERHEAD,
    Message,
    Order,
    Prompt,
    TokenCounter,
    build_prompt,
    default_instruction,
    estimate_tokens,
)

__all__ = [
    "JSON_NAMES",
    "MESSAGE_OVERHEAD",
    "NOTHING",
    "TASK_NAMES",
    "AnswerFormat",
    "Layout",
    "Message",
    "Order",
    "Prompt",
    "TokenCounter",
    "build_prompt",
    "default_instruction",
    "estimate_tokens",
    "one_line",
    "render_answer",
    "render_demonstration",
    "render_passage",
    "render_query",
    "render_search_query",
]
