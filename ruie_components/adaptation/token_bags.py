"""Token bags: texts as a sparse matrix of token counts, the input of static token vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ruie_components.encoders.folder import token_ids


def token_bags(tokenizer: Any, texts: Sequence[str], max_tokens: int, exponent: float = 1.0) -> Any:
    """The weight of each token in each text: ``c ** exponent`` for c occurrences.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` that truncates to ``max_tokens``.
        texts: The texts.
        max_tokens: The limit of the tokenizer.
        exponent: The exponent of the counts.

    Returns:
        A scipy CSR matrix, float32 (texts, tokens).
    """
    tokens = token_ids(tokenizer, texts, max_tokens)
    ends = np.cumsum([0, *map(len, tokens)])
    flat = np.fromiter((token for ids in tokens for token in ids), np.int32, ends[-1])
    bags = csr_matrix((np.ones(len(flat), np.float32), flat, ends), (len(tokens), tokenizer.get_vocab_size()))
    bags.sum_duplicates()
    bags.data **= np.float32(exponent)
    return bags


def select_tokens(bags: Any, tokens: NDArray[np.int64]) -> Any:
    """The same bags with columns for some tokens only, which include all that occur: CSR (texts, chosen tokens).

    Args:
        bags: Token bags, CSR (texts, tokens).
        tokens: The chosen tokens, ascending.
    """
    columns = np.searchsorted(tokens, bags.indices)
    return csr_matrix((bags.data, columns, bags.indptr), (bags.shape[0], len(tokens)))
