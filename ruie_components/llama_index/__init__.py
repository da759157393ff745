"""The LlamaIndex components: retriever, output parser, few-shot prompt, embedding.

They use the same store and encoder as the LangChain components. A LlamaIndex LLM can be used directly as a chat model:
``Extractor(store, llm)``.
"""

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'LlamaIndex can\'t be imported ({error}): pip install "ruie-components[llama-index]"', name=error.name
    ) from error

from ruie_components.llama_index.embeddings import RUIEEmbedding
from ruie_components.llama_index.output_parser import UIEOutputParser
from ruie_components.llama_index.prompts import few_shot_prompt
from ruie_components.llama_index.retriever import RUIERetriever

__all__ = ["RUIEEmbedding", "RUIERetriever", "UIEOutputParser", "few_shot_prompt"]
