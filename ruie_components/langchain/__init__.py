"""The LangChain components: retriever, example selector, output parser, extraction chain, embeddings, chat models."""

from ruie_components.langchain.chain import ExtractionChain, ExtractionInput, create_extraction_chain
from ruie_components.langchain.chat_models import RUIEChatModel, load_chat_model
from ruie_components.langchain.embeddings import RUIEEmbeddings
from ruie_components.langchain.example_selector import RUIEExampleSelector
from ruie_components.langchain.output_parser import UIEOutputParser
from ruie_components.langchain.retriever import RUIERetriever

__all__ = [
    "ExtractionChain",
    "ExtractionInput",
    "RUIEChatModel",
    "RUIEEmbeddings",
    "RUIEExampleSelector",
    "RUIERetriever",
    "UIEOutputParser",
    "create_extraction_chain",
    "load_chat_model",
]
