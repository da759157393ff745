"""Token vectors from training texts only: tokenizer, inverse document frequency, random directions and an SVD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.keywords import CLOSE, OPEN

Vectors = NDArray[np.float32]
SPECIAL_TOKENS = ("[PAD]", "[CLS]", OPEN, CLOSE)


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer: lower case, no unknown tokens in any script, keyword tags as single tokens.

    Words are split at white space and punctuation, and Chinese characters are single words, so that a word always has
    the same tokens.

    Args:
        texts: The training texts.
        vocabulary: The maximum number of tokens.

    Returns:
        A ``tokenizers.Tokenizer`` that puts ``[CLS]`` first, so that every text has a token.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), clean])
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    first = tokenizer.token_to_id("[CLS]")
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", first)])
    return tokenizer


def inverse_document_frequency(counts: Any) -> Vectors:
    """``ln(1 + texts / (1 + texts with the token))`` for each token of token bags, (tokens,); 0 for special tokens.

    ``[CLS]`` keeps a millionth, which matters only for the direction of an empty text.
    """
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log1p(counts.shape[0] / (1 + having))
    weights[: len(SPECIAL_TOKENS)] = 0
    weights[SPECIAL_TOKENS.index("[CLS]")] = 1e-6
    return np.asarray(weights, np.float32)


def token_vectors(counts: Any, idf: Vectors, *, random: int, svd: int, svd_weight: float, seed: int = 0) -> Vectors:
    """The vectors of all tokens before their weights, (tokens, random + svd).

    Args:
        counts: Token bags of the training texts, CSR (texts, tokens).
        idf: From ``inverse_document_frequency``, (tokens,).
        random: Dimensions of the random directions.
        svd: Dimensions of the singular value decomposition. 0: none.
        svd_weight: Length of a token's vector in the second part, relative to the first.
        seed: Of the random directions.
    """
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((counts.shape[1], random), np.float32) / np.float32(np.sqrt(random))
    if svd:
        related = np.float32(svd_weight) * singular_vectors(counts, idf, svd, seed)
        vectors = np.concatenate([vectors, related], axis=1)
    return vectors


def singular_vectors(counts: Any, idf: Vectors, dimensions: int, seed: int) -> Vectors:
    """The tokens in the first right singular vectors of TF-IDF, (tokens, dimensions).

    Counts are logarithmic, and texts have unit length. Tokens also get unit length, so that frequent ones do not
    dominate, and then mean 0.
    """
    from sklearn.preprocessing import normalize
    from sklearn.utils.extmath import randomized_svd

    weighted = counts.copy()
    weighted.data = 1 + np.log(weighted.data)
    weighted = normalize(weighted.multiply(idf).tocsr())
    _, _, right = randomized_svd(weighted, n_components=dimensions, n_iter=3, random_state=seed)
    unit = normalize(right.T)
    return np.asarray(unit - unit.mean(0), np.float32)
