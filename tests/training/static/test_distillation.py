import numpy as np
import pytest
from ruie_training.errors import TrainingError
from ruie_training.evaluation.rankers import rank_by_encoder, select
from ruie_training.models.token_vectors import train_tokenizer
from ruie_training.static.build import StaticRecipe, passages, weigh
from ruie_training.static.distillation import StaticDistillation, weigh_bags
from scipy.sparse import csr_matrix

from ruie_components import Example, keywords
from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import write_static_encoder
from ruie_components.labels import count_matrices, label_f1_at_k, label_f1_matrix

SHORT = StaticDistillation(steps=60, queries=12, drawn=24, mined=12, learning_rate=2e-2, lexical=0.0)


def recipe(distillation):
    return StaticRecipe(vocabulary=600, random=62, svd=2, distillation=distillation)


def examples(seed, number=80):
    """Sentences whose label hangs on one of several words that never occur together: lexical search can't know."""
    draw = np.random.default_rng(seed)
    words = {"animal": ["otter", "lynx", "heron", "badger"], "metal": ["copper", "zinc", "nickel", "cobalt"]}
    filler = list("abcdefghijklmnop")
    found = []
    for _ in range(number):
        label = str(draw.choice(list(words)))
        before, after = (" ".join(draw.choice(filler, 5)) for _ in range(2))
        word = str(draw.choice(words[label]))
        span = {"text": word, "type": label, "start": len(before) + 1, "end": len(before) + 1 + len(word)}
        text = f"{before} {word} {after}"
        found.append(Example(task="NER", text=text, labels=list(words), entities=[span]))
    return found


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(passages(examples(0), recipe(None), keywords.KeywordStrategy.NONE), 600)


def mean_label_f1(folder, tokenizer, weights):
    config = EncoderConfig(name="tiny", layout="input", dimension=weights.dimension)
    write_static_encoder(folder, config, tokenizer, weights, card="")
    queries, pool = examples(1, 40), examples(2, 60)
    ranked = select("similarity", rank_by_encoder(load_encoder(folder))(queries, pool), queries, pool, 20)
    return label_f1_at_k(label_f1_matrix(*count_matrices(queries, pool)), ranked, 20).mean()


def test_words_that_never_meet_come_together_by_their_labels(tokenizer, tmp_path):
    read = {"NER/made": examples(0)}
    before = mean_label_f1(tmp_path / "before", tokenizer, weigh(tokenizer, read, recipe(None), progress=False))
    after = mean_label_f1(tmp_path / "after", tokenizer, weigh(tokenizer, read, recipe(SHORT), progress=False))
    assert after > before + 0.15


def test_one_seed_gives_the_same_weights(tokenizer):
    read = {"NER/made": examples(0, 30)}
    few = StaticDistillation(steps=5, queries=8, drawn=8, mined=4)
    first, second = (weigh(tokenizer, read, recipe(few), progress=False) for _ in range(2))
    assert (first.table == second.table).all()
    assert (first.scale == second.scale).all()


def test_a_loss_that_is_no_number_stops_the_training(tokenizer):
    read = {"NER/made": examples(0, 30)}
    broken = StaticDistillation(steps=5, queries=8, drawn=8, mined=4, learning_rate=float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan"):
        weigh(tokenizer, read, recipe(broken), progress=False)


def test_weighted_bags_have_unit_length_and_weights_of_zero_drop_a_token():
    bags = csr_matrix(np.array([[1, 0, 0], [2, 1, 1]], np.float32))
    weights = np.ones(3, np.float32)
    assert np.linalg.norm(weigh_bags(bags, weights).toarray(), axis=1) == pytest.approx([1, 1])
    assert not weigh_bags(bags, 0 * weights).toarray().any()
    expected = bags.toarray() ** 2
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert weigh_bags(bags, weights, 2.0).toarray() == pytest.approx(expected)
