"""Adapting a pool's encoder: what is read, trained, measured, decided and written. Without torch."""

import itertools
import json
import random
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from typer.testing import CliRunner

from ruie_components import DemonstrationStore, Example
from ruie_components.adaptation import Pool
from ruie_components.adaptation.encoders import AdaptableStaticEncoder, with_label_tokens
from ruie_components.adaptation.teachers import ScoredTeacher, load_teacher
from ruie_components.adaptation.work import starting_encoder
from ruie_components.cli.app import app
from ruie_components.encoders import load_encoder
from ruie_components.encoders.folder import EncoderConfig
from ruie_components.encoders.static import TokenVectors, write_static_encoder
from ruie_components.errors import AdaptationError, RowError

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
    text = f"There is one {word} {place}."  # the place is beside the annotation
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


def word_tokenizer(texts):
    splitter = pre_tokenizers.BertPreTokenizer()
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text.lower())})
    vocabulary = {word: index for index, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), splitter
    return tokenizer


def write_encoder(folder, texts):
    """A static encoder of random token vectors, with 8 bits; the unknown word's is zero."""
    tokenizer = word_tokenizer(texts)
    vectors = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 64)).astype(np.float32)
    vectors[0] = 0
    config = EncoderConfig(name="tiny", layout="input", keywords="none", dimension=64)
    return write_static_encoder(folder, config, tokenizer, TokenVectors.quantize(vectors), card="")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    texts = [example.text for example in (*rows(), *rows(relation))] + [f"{label}:" for label in WORDS]
    return write_encoder(tmp_path_factory.mktemp("static") / "tiny", texts)


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


def test_label_tokens_start_where_their_words_are(tiny):
    encoder = load_encoder(tiny)
    tokenizer, added = with_label_tokens(encoder, ["animal", "tool", "animal"])
    assert added.shape == (2, 64)
    number = tokenizer.token_to_id("animal:")
    assert tokenizer.encode("a lynx animal: lynx").ids.count(number) == 1
    assert tokenizer.encode("a lynx").ids == encoder.tokenizer.encode("a lynx").ids
    before = encoder.token_vectors.vectors(np.array(encoder.tokenizer.encode("animal:").ids)).sum(0)
    np.testing.assert_allclose(added[number - len(encoder.token_vectors)], before, atol=1e-5)


def test_rows_that_are_not_of_the_pool_keep_their_exact_vectors(tiny, make_store, tmp_path):
    adapted = make_store(rows(places=PLACES[:6]))
    assert adapted.adapt(out=tmp_path / "out", steps=40).replaced
    tables = load_encoder(tiny).token_vectors, load_encoder(tmp_path / "out").token_vectors
    unused = [load_encoder(tiny).tokenizer.token_to_id(word) for word in ("meadow", "grass", "tunnel", "rail")]
    before, after = (table.vectors(np.array(unused)) for table in tables)
    assert np.array_equal(before, after)
    assert len(tables[1]) == len(tables[0]) + len(WORDS)


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
    found = store.adapt(out=tmp_path / "adapted", steps=60)
    (gain,) = found.gains
    assert found.replaced
    assert gain.queries == store.count()
    assert gain.label_f1_after > gain.label_f1_before + 8
    assert store.encoder.fingerprint == load_encoder(tmp_path / "adapted").fingerprint != origin.fingerprint
    # places that are in no row: only the word says what to show
    new = [ner(words[0], label, PLACES[7]) for label, words in WORDS.items()]
    for example, shown in zip(new, store.search_many([example.query for example in new], 8), strict=True):
        agreeing = [near.example.annotation_labels == example.annotation_labels for near in shown]
        assert sum(agreeing) >= 5  # by chance: 3
    again = store.adapt(measure_only=True, start=origin, steps=60)  # from the first encoder, not from what it learned
    assert again.gains == found.gains


def test_a_pool_of_several_tasks_gets_one_encoder_and_a_figure_for_each(make_store):
    store = make_store([*rows(places=PLACES[:3]), *rows(relation, PLACES[:3])])
    found = store.adapt(steps=60)
    assert [gain.task for gain in found.gains] == ["NER", "RE", "all"]
    assert found.replaced
    assert all(gain.label_f1_after > gain.label_f1_before for gain in found.gains)
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
    found = store.adapt(steps=30)
    assert not found.replaced
    assert "gained nothing" in found.reason
    assert len(found.gains) == 1
    assert store.encoder is origin


def test_measuring_alone_changes_nothing(make_store, tmp_path):
    store = make_store(rows(places=PLACES[:3]))
    origin = store.encoder
    found = store.adapt(measure_only=True, out=tmp_path / "none", steps=40)
    assert (found.replaced, found.reason, store.encoder) == (False, "measured only", origin)
    assert found.gains[0].label_f1_after > found.gains[0].label_f1_before
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ([], "at least 10"),
        (rows(places=PLACES[:1])[:9], "at least 10"),
        (rows()[:1], "at least 10"),
        ([rows()[0].model_copy(update={"id": str(number)}) for number in range(30)], "at least 10"),
        (rows(places=PLACES[:2])[:10] * 3, "same labels"),
        ([nothing(place, number) for place in PLACES for number in range(4)], "same labels"),
    ],
    ids=["empty", "nine texts", "one row", "equal texts", "one label in every row", "nothing annotated"],
)
def test_pools_that_teach_nothing_are_declined_with_a_reason(make_store, pool, reason):
    found = make_store(pool).adapt()
    assert not found.replaced
    assert reason in found.reason
    assert found.gains == ()


def test_thirty_rows_of_one_label_and_rows_without_any(make_store):
    store = make_store([*rows(places=PLACES[:3])[:18], *(nothing(place, 3) for place in PLACES), *rows(relation)[:4]])
    found = store.adapt(steps=30)
    assert sum(gain.queries for gain in found.gains[:-1]) == found.gains[-1].queries == 30
    for gain in found.gains[:-1]:
        assert 0 <= gain.label_f1_before <= 100
    assert store.count() == 30


def test_a_scorer_teaches_what_it_likes(make_store):
    class SamePlace:
        def score(self, pairs):
            return [float(shown.text.split()[-1] == asked.text.split()[-1]) for shown, asked in pairs]

    pool = Pool(rows(places=PLACES[:3]))
    teacher = load_teacher(pool, SamePlace(), scale=1.0, seed=0)
    asked = np.arange(6)
    shown = teacher.candidates(asked)
    scores = teacher.scores(asked, shown)
    place = np.array([example.text.split()[-1] for example in pool.examples])
    same = place[asked][:, None] == place[shown][None, :]
    known = ~np.isnan(scores)
    assert known.any()
    assert scores[known & same].min() > scores[known & ~same].max()
    assert "gained nothing" in make_store(pool.examples).adapt(teacher=SamePlace(), steps=40).reason


def test_a_file_of_scored_candidates_teaches(make_store, tmp_path):
    pool = rows(places=PLACES[:4])
    ids = [example.content_id for example in pool]
    scores = [tuple(float(a.annotation_labels == b.annotation_labels) for b in pool if b is not a) for a in pool]
    others = [tuple(b.content_id for b in pool if b is not a) for a in pool]
    path = tmp_path / "scored.jsonl"
    lines = [{"query": a, "ids": b, "scores": c} for a, b, c in zip(ids, others, scores, strict=True)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = make_store(pool).adapt(teacher=path, measure_only=True, steps=40)
    assert found.gains[0].label_f1_after > found.gains[0].label_f1_before + 3
    with pytest.raises(AdaptationError, match="has no usable scores for this pool"):
        ScoredTeacher(Pool(rows(relation)), zip(ids, others, scores, strict=True))


def test_a_repeated_query_or_candidate_counts_once_with_its_last_score():
    pool = Pool(rows(places=PLACES[:2])[:4])
    query, *others = (example.content_id for example in pool.examples)
    once = ScoredTeacher(pool, [(query, others, [1.0, 2.0, 4.0])])
    joined = [(query, others, [1.0, 2.0, 3.0]), (query, [others[2], others[2]], [0.0, 4.0])]
    every = np.arange(4)
    np.testing.assert_array_equal(ScoredTeacher(pool, joined).scores(every, every), once.scores(every, every))


class Constant:
    def __init__(self, score):
        self.value = score

    def score(self, pairs):
        return [self.value] * len(pairs)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 0.5])
def test_a_teacher_that_knows_nothing_is_an_error_and_changes_nothing(make_store, score):
    store = make_store(rows(places=PLACES[:2]))
    origin = store.encoder
    with pytest.raises(AdaptationError, match="has no usable scores for this pool"):
        store.adapt(teacher=Constant(score))
    assert store.encoder is origin


def test_a_scorer_that_miscounts_is_an_error(make_store):
    class Short:
        def score(self, pairs):
            return [1.0]

    with pytest.raises(AdaptationError, match=r"returned 1 scores for [0-9]+ pairs"):
        make_store(rows(places=PLACES[:2])).adapt(teacher=Short())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "line 2: expected a JSON object"),
        ('{"query": "a"}', "line 2: not a row"),
        ('{"query": "a", "ids": ["b"], "scores": [1, 2]}', "line 2: 1 id, but 2 scores"),
    ],
)
def test_a_broken_file_of_scores_names_the_line(make_store, tmp_path, line, message):
    path = tmp_path / "scored.jsonl"
    path.write_text('{"candidates": "reward", "version": 1, "queries": 1, "dropped": {}}\n' + line + "\n")
    store = make_store(rows(places=PLACES[:2]))
    with pytest.raises(RowError, match=message):
        store.adapt(teacher=path)
    with pytest.raises(RowError, match=r"none\.jsonl"):
        store.adapt(teacher=tmp_path / "none.jsonl")


def test_tokens_that_the_encoder_does_not_know_do_no_harm(tmp_path):
    folder = write_encoder(tmp_path / "other", ["a", "of", "one"])  # all other words are unknown, and zero
    with DemonstrationStore.create(rows(places=PLACES[:3]), encoder=folder, progress=False) as store:
        found = store.adapt(steps=20)
    assert np.isfinite([gain.label_f1_after for gain in found.gains]).all()


def test_a_large_pool_is_sampled_evenly():
    made = (nothing("quay", number) for number in range(2000))
    numbers = [int(example.text.split()[5]) for example in Pool.sample(made, 400).examples]
    assert len(set(numbers)) == 400
    assert np.mean(numbers) == pytest.approx(1000, abs=100)


def test_an_interrupted_run_changes_nothing_and_resumes(tiny, tmp_path, monkeypatch):
    path = tmp_path / "store"
    with DemonstrationStore.create(rows(places=PLACES[:4]), path, encoder=tiny, progress=False) as store:
        expected = store.adapt(measure_only=True, steps=30)
        trained = []
        train = AdaptableStaticEncoder.train

        def interrupted(self, chosen, advance):
            trained.append(len(chosen))
            if len(trained) == 4:
                raise KeyboardInterrupt
            return train(self, chosen, advance)

        monkeypatch.setattr(AdaptableStaticEncoder, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.adapt(steps=30)
        assert store.encoder.name == "tiny"
    with DemonstrationStore.open(path, encoder=tiny) as store:
        found = store.adapt(steps=30)
        assert found.replaced
        assert found.gains == expected.gains
    assert len(trained) == 4 + 2 + 1  # the fold that was interrupted, the last one, and all rows
    assert not list((path / ".ruie").rglob("fold-*"))


@pytest.fixture
def progress(monkeypatch):
    """The announced and the reported steps of each adaptation."""
    shown = []

    @contextmanager
    def track(what, *, total, enabled):
        shown.append([total, 0])

        def advance(steps):
            shown[-1][1] += steps

        yield advance

    monkeypatch.setattr("ruie_components.adaptation.work.track", track)
    return shown


@pytest.mark.parametrize(("held_out", "again"), [(14, False), (20, True)], ids=["a tenth", "more"])
def test_one_fold_of_nearly_all_rows_is_the_last_training(tiny, tmp_path, monkeypatch, progress, held_out, again):
    monkeypatch.setattr("ruie_components.adaptation.pool.MIDDLE", 100)
    monkeypatch.setattr("ruie_components.adaptation.pool.SMALL", 50)
    monkeypatch.setattr("ruie_components.adaptation.pool.HELD_OUT", held_out)
    trained = []
    train, write = AdaptableStaticEncoder.train, AdaptableStaticEncoder.write

    def counted(self, chosen, advance):
        trained.append(len(chosen))
        return train(self, chosen, advance)

    def interrupted(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(AdaptableStaticEncoder, "train", counted)
    pool = rows()
    fold, final = len(pool) - held_out, len(pool) if again else len(pool) - held_out
    with DemonstrationStore.create(pool, tmp_path / "whole", encoder=tiny, progress=False) as store:
        assert store.adapt(steps=30, out=tmp_path / "out").replaced
        expected = store.encoder.fingerprint
    assert f"Trained on {final} demonstrations" in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert trained == ([fold, final] if again else [fold])
    with DemonstrationStore.create(pool, tmp_path / "resumed", encoder=tiny, progress=False) as store:
        monkeypatch.setattr(AdaptableStaticEncoder, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.adapt(steps=30)
        monkeypatch.setattr(AdaptableStaticEncoder, "write", write)
        trained.clear()
        assert store.adapt(steps=30).replaced
        assert store.encoder.fingerprint == expected
    assert trained == [final]
    assert all(total == steps for total, steps in progress)


def test_new_rows_are_embedded_by_the_adapted_encoder(tiny, tmp_path):
    path = tmp_path / "store"
    with DemonstrationStore.create(rows(places=PLACES[:4]), path, encoder=tiny, progress=False) as store:
        assert store.adapt(steps=40).replaced
    new = ner("otter", "animal", PLACES[6])
    with DemonstrationStore.open(path) as store:
        assert store.encoder.config.adapted_from == str(tiny)
        store.add([new])
        assert starting_encoder(store.encoder, tiny).fingerprint == load_encoder(tiny).fingerprint
        shown = store.search(ner("lynx", "animal", PLACES[6]).query, 40)
        assert new in [demonstration.example for demonstration in shown]
        assert store.adapt(measure_only=True, start=tiny, steps=40).gains  # from the start again


def test_what_a_file_names_as_its_origin_is_not_loaded(tiny, tmp_path, monkeypatch):
    """A store from elsewhere can name any path and any hub name there."""
    with DemonstrationStore.create(rows(places=PLACES[:4]), encoder=tiny, progress=False) as store:
        assert store.adapt(steps=40).replaced
        adapted = store.encoder
        loaded = []
        monkeypatch.setattr("ruie_components.adaptation.work.load_encoder", lambda *given: loaded.append(given))
        monkeypatch.setattr("ruie_components.adaptation.work.SentenceTransformersEncoder", loaded.append)
        for origin in (str(tiny), str(tmp_path / "elsewhere"), "attacker/model", "../x"):
            adapted.config = adapted.config.model_copy(update={"adapted_from": origin})
            with pytest.raises(AdaptationError, match=r"not loaded.*--start"):
                store.adapt()
        assert loaded == []


def test_it_works_without_torch_and_onnx(tmp_path):
    code = """
import sys
sys.modules |= {name: None for name in ("torch", "onnx", "transformers", "sentence_transformers", "sklearn")}
from ruie_components import DemonstrationStore, Example
rows = []
for number in range(40):
    word, label = (("otter", "animal"), ("anvil", "tool"))[number % 2]
    text = f"{word} {number}"
    entity = {"type": label, "text": word, "start": 0, "end": 5}
    rows.append(Example(task="NER", text=text, labels=["animal", "tool"], entities=[entity]))
with DemonstrationStore.create(rows, progress=False) as store:
    print(store.adapt(steps=5).gains)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Gain(task='NER', queries=40" in done.stdout, done.stderr


def test_index_can_adapt_and_says_that_it_is_worth_it(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(example.to_row()) + "\n" for example in rows()))
    run = CliRunner().invoke(app, ["index", str(file), "-s", str(tmp_path / "plain")])
    assert run.exit_code == 0, run.output
    assert f"ruie adapt --store {tmp_path / 'plain'}" in run.stdout.replace("\n", " ")
    run = CliRunner().invoke(app, ["index", str(file), "-s", str(tmp_path / "adapted"), "--adapt", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["adaptation"]["gains"][0]["queries"] == len(rows())


def test_a_teacher_of_another_kind_is_refused(make_store):
    with pytest.raises(AdaptationError, match="int is not a teacher"):
        make_store(rows(places=PLACES[:2])).adapt(teacher=3)


def test_an_exported_encoder_that_is_not_static_is_refused(encoder):
    with (
        DemonstrationStore.create(rows(places=PLACES[:2]), encoder=encoder, progress=False) as store,
        pytest.raises(AdaptationError, match="can't be trained"),
    ):
        store.adapt()


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
    assert f"{gain['label_f1_before']:.1f} -> {gain['label_f1_after']:.1f}" in run.stdout
    assert "has the adapted encoder now" in run.stdout
    with DemonstrationStore.open(path) as store:
        assert store.encoder.name == "tiny, adapted to default"
