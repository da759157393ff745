import numpy as np
import pytest

from ruie_components.adaptation.token_bags import select_tokens, token_bags
from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import load_tokenizer

TEXTS = ["zinc", "otter otter lynx zinc", ""]


@pytest.fixture(scope="module")
def tokenizer():
    return load_encoder().tokenizer


@pytest.fixture(scope="module")
def bags(tokenizer):
    return token_bags(tokenizer, TEXTS, 64)


def test_bags_count_tokens(tokenizer, bags):
    ids = tokenizer.encode(TEXTS[1]).ids
    columns = sorted(set(ids))
    assert len(columns) < len(ids)
    assert bags[1].toarray()[0, columns].tolist() == [ids.count(column) for column in columns]
    assert bags[1].sum() == len(ids)
    assert token_bags(tokenizer, TEXTS, 64, 0.5).data == pytest.approx(np.sqrt(bags.data))


def test_longer_texts_are_truncated(tokenizer):
    short = load_tokenizer(load_encoder().folder, tokenizer.to_str().encode(), 3)
    assert token_bags(short, TEXTS[1:2], 3).sum() == 3


def test_selected_tokens_keep_their_counts(bags):
    tokens = np.unique(bags.indices)
    chosen = select_tokens(bags, tokens)
    assert chosen.shape == (len(TEXTS), len(tokens))
    assert (chosen.toarray() == bags.toarray()[:, tokens]).all()
