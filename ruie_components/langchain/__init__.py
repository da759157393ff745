"""The LangChain components: retriever, example selector, output parser, extraction chain, embeddings, chat models."""

from ruie_components.langchain.baseline import CopyBaseline
from ruie_components.langchain.chain import ExtractionChain, create_extraction_chain
from ruie_components.langchain.chat_models import load_chat_model, ollama_is_up, ollama_models
from ruie_components.langchain.embeddings import RUIEEmbeddings
from ruie_components.langchain.parser import UIEOutputParser
from ruie_components.langchain.retriever import RUIERetriever
from ruie_components.langchain.selector import RUIEExampleSelector

__all__ = [
    "CopyBaseline",
    "ExtractionChain",
    "RUIEEmbeddings",
    "RUIEExampleSelector",
    "RUIERetriever",
    "UIEOutputParser",
    "create_extraction_chain",
    "load_chat_model",
    "ollama_is_up",
    "ollama_models",
]
