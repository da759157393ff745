"""Adapting a pool's encoder: what is read, trained, measured, decided and written."""

import itertools
import json
import random

import numpy as np
import pytest
from ruie_training.adapt import adapt_store
from ruie_training.adapt.pool import Pool
from ruie_training.adapt.static_encoder import read_static, with_label_tokens, write_static
from ruie_training.adapt.teachers import ScoredTeacher, teacher_of
from ruie_training.data.candidates import Candidates
from ruie_training.errors import TrainingError
from ruie_training.static.build import train_tokenizer
from typer.testing import CliRunner

from ruie_components import DemonstrationStore, Example
from ruie_components.cli.app import app
from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import TokenVectors, write_static_encoder

# Words of a label never stand with each other, so that only training can bring its texts together.
WORDS = {
    "animal": ["otter", "heron", "lynx", "newt", "moth", "stoat"],
    "tool": ["chisel", "spanner", "anvil", "lathe", "mallet", "awl"],
    "dish": ["ramen", "paella", "goulash", "borscht", "laksa", "poutine"],
}
# A place shares more words with the same place than a label's word weighs, and says nothing of the label.
PLACES = [
    "harbour quay crane",
    "cellar wine cask",
    "garden rose hedge",
    "attic dusty trunk",
    "market fruit stall",
    "bridge stone arch",
    "tunnel dark rail",
    "meadow tall grass",
]


def ner(word: str, label: str, place: str) -> Example:
    text = f"There is one {word} near that {place}."
    entity = {"type": label, "text": word, "start": text.index(word), "end": text.index(word) + len(word)}
    return Example(task="NER", text=text, labels=sorted(WORDS), entities=[entity])


def relation(word: str, label: str, place: str) -> Example:
    text = f"A {word} was seen, and the {place} as well."
    spans = [{"text": each, "start": text.index(each), "end": text.index(each) + len(each)} for each in (word, place)]
    return Example(
        task="RE", text=text, labels=sorted(WORDS), relations=[{"type": label, "head": spans[0], "tail": spans[1]}]
    )


def nothing(place: str, number: int) -> Example:
    return Example(task="NER", text=f"Nobody came to the {place}, {number} years on.", labels=sorted(WORDS))


def rows(make=ner, places=PLACES) -> list[Example]:
    return [make(word, label, place) for label, words in WORDS.items() for word in words for place in places]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An encoder of random token vectors, with 8 bits."""
    texts = [example.text for example in (*rows(), *rows(relation))] + [f"{label}:" for label in WORDS]
    tokenizer = train_tokenizer(texts, 800)
    vectors = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 64), np.float32)
    vectors[:4] = 0
    config = EncoderConfig(name="tiny", layout="input", keywords="none", dimension=64)
    folder = tmp_path_factory.mktemp("static") / "tiny"
    return write_static_encoder(folder, config, tokenizer, TokenVectors.quantize(vectors), card="")


@pytest.fixture
def make_store(tiny):
    """Makes a store in memory, with the tiny encoder."""
    opened = []

    def make(examples):
        opened.append(DemonstrationStore.create(examples, encoder=tiny, progress=False))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def test_the_embedded_encoder_is_read_and_written_with_the_same_vectors(tmp_path):
    embedded = load_encoder()
    read = read_static(embedded)
    again = load_encoder(write_static(read, tmp_path, name="again", card=""))
    texts = ["Ada slept in Rome, and Ada woke in Rome.\nperson: Ada; person: Ada", "北京 is <Keyword> far </Keyword>"]
    cosines = (embedded.encode_passages(texts) * again.encode_passages(texts)).sum(1)
    assert cosines.min() > 0.9999
    assert (again.layout, again.keywords, again.config.max_tokens) == (
        embedded.layout,
        embedded.keywords,
        embedded.config.max_tokens,
    )


def test_label_tokens_start_where_their_words_are(tiny):
    before = read_static(load_encoder(tiny))
    after = with_label_tokens(before, ["animal", "tool", "animal"])
    assert len(after.vectors) == len(before.vectors) + 2
    ids = after.tokenizer.encode("a lynx\nanimal: lynx").ids
    assert ids.count(after.tokenizer.token_to_id("animal:")) == 1
    assert after.tokenizer.encode("a lynx").ids == before.tokenizer.encode("a lynx").ids
    old = before.vectors[before.tokenizer.encode("animal:").ids].sum(0)
    np.testing.assert_allclose(after.vectors[after.tokenizer.token_to_id("animal:")], old, atol=1e-5)
    assert len(with_label_tokens(after, ["tool"]).vectors) == len(after.vectors)


def test_folds_part_texts_and_measure_every_row_once():
    pool = Pool([*rows(), *rows(), *rows(relation)])
    folds = pool.folds(5, 0)
    assert sorted(itertools.chain.from_iterable(asked for _, asked in folds)) == list(range(len(pool)))
    for trained, asked in folds:
        assert not set(pool.text[trained]) & set(pool.text[asked])
    assert list(pool.tasks) == ["NER", "RE"]
    assert len(folds) == 5
    ((trained, asked),) = pool.folds(1, 0)
    assert len(trained) + len(asked) == len(pool)
    assert len(set(pool.text[asked])) == len(set(pool.text)) // 5


def test_a_pool_with_something_to_learn_gets_its_encoder(make_store, tmp_path):
    store = make_store(rows(places=PLACES[:6]))
    origin = store.encoder
    found = adapt_store(store, out=tmp_path / "adapted", steps=60)
    (gain,) = found.gains
    assert found.replaced
    assert gain.queries == store.count()
    assert gain.agreement_after > gain.agreement_before + 20
    assert store.encoder.fingerprint == load_encoder(tmp_path / "adapted").fingerprint != origin.fingerprint
    # places that are in no row: only the word says what to show
    new = [ner(words[0], label, PLACES[7]) for label, words in WORDS.items()]
    for example, shown in zip(new, store.search_many([example.query for example in new], 8), strict=True):
        agreeing = [near.example.annotation_labels == example.annotation_labels for near in shown]
        assert sum(agreeing) >= 6
    again = adapt_store(
        store, measure_only=True, steps=60
    )  # it starts from the first encoder, not from what it has learned
    assert again.gains == found.gains


def test_a_pool_of_several_tasks_gets_one_encoder_and_a_figure_for_each(make_store):
    store = make_store([*rows(places=PLACES[:3]), *rows(relation, PLACES[:3])])
    found = adapt_store(store, steps=60)
    assert [gain.task for gain in found.gains] == ["NER", "RE", "all"]
    assert found.replaced
    assert all(gain.agreement_after > gain.agreement_before for gain in found.gains)
    assert store.count("RE") == store.count("NER") == len(rows()) * 3 // len(PLACES)


def test_nothing_to_learn_leaves_the_encoder(make_store):
    shuffle = random.Random(3)
    pool = [
        ner(word, shuffle.choice(sorted(WORDS)), place)
        for words in WORDS.values()
        for word in words
        for place in PLACES[:4]
    ]
    store = make_store(pool)
    origin = store.encoder
    found = adapt_store(store, steps=30)
    assert not found.replaced
    assert "gained nothing" in found.reason
    assert len(found.gains) == 1
    assert store.encoder is origin


def test_measuring_alone_changes_nothing(make_store, tmp_path):
    store = make_store(rows(places=PLACES[:3]))
    origin = store.encoder
    found = adapt_store(store, measure_only=True, out=tmp_path / "none", steps=40)
    assert (found.replaced, found.reason, store.encoder) == (False, "measured only", origin)
    assert found.gains[0].agreement_after > found.gains[0].agreement_before
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ([], "at least 10"),
        (rows(places=PLACES[:1])[:9], "at least 10"),
        (rows(places=PLACES[:2])[:10] * 3, "same labels"),
        ([nothing(place, number) for place in PLACES for number in range(4)], "same labels"),
    ],
    ids=["empty", "nine texts", "one label in every row", "nothing annotated"],
)
def test_pools_that_teach_nothing_are_declined_with_a_reason(make_store, pool, reason):
    found = adapt_store(make_store(pool))
    assert not found.replaced
    assert reason in found.reason
    assert found.gains == ()


def test_thirty_rows_of_one_label_and_rows_without_any(make_store):
    store = make_store([*rows(places=PLACES[:3])[:18], *(nothing(place, 3) for place in PLACES), *rows(relation)[:4]])
    found = adapt_store(store, steps=30)
    assert sum(gain.queries for gain in found.gains[:-1]) == found.gains[-1].queries == 30
    for gain in found.gains[:-1]:
        assert 0 <= gain.agreement_before <= 100
    assert store.count() == 30


def test_a_scorer_teaches_what_it_likes(make_store):
    class SamePlace:
        kind = "place"

        def score(self, pairs):
            return [float(shown.text.split()[-1] == asked.text.split()[-1]) for shown, asked in pairs]

    pool = Pool(rows(places=PLACES[:3]))
    teacher = teacher_of(pool, SamePlace(), scale=1.0, seed=0, progress=False)
    assert teacher.kind == "place"
    asked = np.arange(6)
    shown = teacher.candidates(asked)
    scores = teacher.scores(asked, shown)
    place = np.array([example.text.split()[-1] for example in pool.examples])
    same = place[asked][:, None] == place[shown][None, :]
    known = ~np.isnan(scores)
    assert known.any()
    assert scores[known & same].min() > scores[known & ~same].max()
    assert "gained nothing" in adapt_store(make_store(pool.examples), teacher=SamePlace(), steps=40).reason


def test_a_file_of_scored_candidates_teaches(make_store, tmp_path):
    pool = rows(places=PLACES[:4])
    ids = [example.content_id for example in pool]
    scores = [tuple(float(a.annotation_labels == b.annotation_labels) for b in pool if b is not a) for a in pool]
    others = [tuple(b.content_id for b in pool if b is not a) for a in pool]
    Candidates(tuple(ids), tuple(others), tuple(scores), "reward").save(tmp_path / "scored.jsonl.gz")
    found = adapt_store(make_store(pool), teacher=tmp_path / "scored.jsonl.gz", measure_only=True, steps=40)
    assert found.gains[0].agreement_after > found.gains[0].agreement_before + 10
    with pytest.raises(TrainingError, match="none of the scored queries"):
        ScoredTeacher(Pool(rows(relation)), Candidates.load(tmp_path / "scored.jsonl.gz"))


def test_a_teacher_of_another_kind_is_refused(make_store):
    with pytest.raises(TrainingError, match="int is no teacher"):
        adapt_store(make_store(rows(places=PLACES[:2])), teacher=3)


def test_an_exported_encoder_that_is_not_static_is_refused(encoder):
    with (
        DemonstrationStore.create(rows(places=PLACES[:2]), encoder=encoder, progress=False) as store,
        pytest.raises(TrainingError, match="can't be trained"),
    ):
        adapt_store(store)


@pytest.mark.parametrize("kind", ["static_folder", "transformer_folder"])
def test_a_checkpoint_is_trained_by_the_same_call(kind, request, starter_rows, tmp_path):
    pool = starter_rows("NER")
    source = load_encoder(str(request.getfixturevalue(kind)))
    path = tmp_path / "store"
    with DemonstrationStore.create(pool, path, encoder=source, progress=False) as store:
        found = adapt_store(store, steps=30, out=tmp_path / "out")
        assert found.gains[0].queries == len(pool) // 5
        fingerprint = store.encoder.fingerprint
        assert found.replaced == (fingerprint != source.fingerprint)
    if found.replaced:
        with DemonstrationStore.open(path) as store:
            assert store.encoder.fingerprint == fingerprint
            assert json.loads((tmp_path / "out" / "encoder.json").read_text())["adapted_from"] == source.name


def test_the_command_measures_replaces_and_says_so(tiny, tmp_path):
    path = tmp_path / "store"
    with DemonstrationStore.create(rows(places=PLACES[:4]), path, encoder=tiny, progress=False):
        pass
    run = CliRunner().invoke(
        app, ["adapt", "-s", str(path), "--encoder", str(tiny), "--dry-run", "--json", "--steps", "40"]
    )
    assert run.exit_code == 0, run.output
    measured = json.loads(run.stdout)
    assert not measured["replaced"]
    run = CliRunner().invoke(app, ["adapt", "default", "-s", str(path), "--encoder", str(tiny), "--steps", "40"])
    assert run.exit_code == 0, run.output
    gain = measured["gains"][0]
    assert f"{gain['agreement_before']:.1f} -> {gain['agreement_after']:.1f}" in run.stdout
    assert "has the adapted encoder now" in run.stdout
    with DemonstrationStore.open(path) as store:
        assert store.encoder.name == "tiny, adapted to default"
