import json
import math

import numpy as np
import pytest
from ruie_training.data.catalog import choose, read_catalog
from ruie_training.errors import TrainingError
from ruie_training.evaluation.likelihood import likelihood_at
from ruie_training.evaluation.rankers import (
    by_selection,
    once,
    rank_by_adapted,
    rank_by_bm25,
    rank_by_encoder,
    rank_by_labels,
    rank_randomly,
    select,
)
from ruie_training.evaluation.retrieval import (
    Measured,
    default_retrievers,
    evaluate,
    interval,
    resampled_means,
    summarise,
)
from ruie_training.evaluation.tables import AVERAGE, table, write_results
from ruie_training.mining.bm25 import mine
from ruie_training.preferences import prompt_and_answer
from typer.testing import CliRunner

from ruie_components import DemonstrationStore, Example, Selector, prompts
from ruie_components.cli.app import app
from ruie_components.encoders import load_encoder
from ruie_components.labels import count_matrices, label_f1_at_k, label_f1_matrix, label_recall_at_k
from ruie_components.types import Demonstration


def example(labels, text=None):
    text = text or "abcdefgh"
    spans = [
        {"text": text[place], "type": label, "start": place, "end": place + 1} for place, label in enumerate(labels)
    ]
    return Example(task="NER", text=text, labels=["P", "L", "O"], entities=spans)


@pytest.mark.parametrize(
    ("query", "other", "overlap"),
    [
        ("PP", "PP", 1.0),
        ("PPL", "P", 0.5),
        ("P", "PPL", 0.5),
        ("PL", "O", 0.0),
        ("", "", 1.0),
        ("", "P", 0.0),
        ("P", "", 0.0),
        ("PPLO", "PLLO", 0.75),
    ],
)
def test_label_f1_of_two_multisets(query, other, overlap):
    assert label_f1_matrix(*count_matrices([example(query)], [example(other)])).tolist() == [[overlap]]


def test_label_f1_is_the_mean_over_the_demonstrations():
    pool = [example("P"), example("PL"), example("O")]
    overlap = label_f1_matrix(*count_matrices([example("P")], pool))
    ranked = np.array([[0, 1, 2]])
    assert label_f1_at_k(overlap, ranked, 1).tolist() == [1.0]
    assert label_f1_at_k(overlap, ranked, 3).tolist() == pytest.approx([(1 + 2 / 3 + 0) / 3])
    assert label_f1_at_k(overlap, np.array([[0, -1, -1]]), 3).tolist() == [1.0]


def test_label_recall_is_the_share_of_distinct_labels_of_the_demonstrations():
    queries, pool = count_matrices([example("PPL"), example("")], [example("PP"), example("O"), example("L")])
    ranked = np.array([[0, 1, 2], [0, 1, 2]])
    assert label_recall_at_k(queries, pool, ranked, 2)[0] == 0.5
    assert label_recall_at_k(queries, pool, ranked, 3)[0] == 1.0
    assert label_recall_at_k(queries, pool, np.array([[0, -1], [0, -1]]), 2)[0] == 0.5
    assert math.isnan(label_recall_at_k(queries, pool, ranked, 2)[1])


def test_the_best_are_in_order_without_the_query_s_own_text_and_ties_in_the_order_of_the_pool():
    query = example("P", "abcdefgh")
    pool = [example("P", text) for text in ("zzzz", "abcdefgh", "yyyy", "xxxx")]
    scores = np.array([[0.5, 9.0, 0.7, 0.5]], np.float32)
    assert select("similarity", scores, [query], pool, 2).tolist() == [[2, 0]]
    assert select("similarity", scores, [query], pool, 5).tolist() == [[2, 0, 3, -1, -1]]


def test_the_oracle_is_never_below_another_ranker():
    draw = np.random.default_rng(0)
    examples = [
        example("".join(draw.choice(list("PLO"), draw.integers(0, 5))), f"abcdefgh {number}") for number in range(60)
    ]
    queries, pool = examples[:20], examples[20:]
    overlap = label_f1_matrix(*count_matrices(queries, pool))
    at = {
        name: label_f1_at_k(overlap, select("similarity", rank(queries, pool), queries, pool, 4), 4)
        for name, rank in {"oracle": rank_by_labels, "random": rank_randomly(1), "BM25": rank_by_bm25}.items()
    }
    assert (at["oracle"] >= at["random"]).all()
    assert (at["oracle"] >= at["BM25"]).all()
    assert at["oracle"].mean() > at["random"].mean()


def test_bm25_finds_shared_words():
    pool = [example("P", text) for text in ("green apples grow", "the pump failed", "old rivers flow")]
    query = example("L", "why has the pump stopped")
    assert rank_by_bm25([query], pool).argmax() == 1


def test_bm25_ranks_as_mining_does_also_without_spaces_between_words():
    pool = [example("P", text) for text in ("北京欢迎你们", "the pump failed", "old rivers flow", "上海很大呢呢")]
    query = example("L", "我住在上海吗")
    mined = mine([query], pool, k=4, progress=False)
    scores = rank_by_bm25([query], pool)[0]
    by_id = {each.content_id: float(score) for each, score in zip(pool, scores, strict=True)}
    assert list(mined.candidate_ids[0]) == sorted(by_id, key=by_id.get, reverse=True)
    assert scores.argmax() == 3


def test_intervals_hold_the_mean_and_shrink_with_more_queries():
    draw = np.random.default_rng(0)
    few, many = draw.random(30), draw.random(3000)
    low, high = interval(resampled_means(few))
    assert low < few.mean() < high
    narrow = interval(resampled_means(many))
    assert narrow[1] - narrow[0] < (high - low) / 4
    assert resampled_means(np.array([np.nan, 2.0])).tolist() == [2.0] * 1000


def measured(value, covered):
    values = {("ours", 8): np.array(value)}
    return Measured(values, {("ours", 8): np.array(covered)}, {"ours": 0.5}, len(value), 10)


def test_every_set_weighs_the_same_in_the_average():
    figures = summarise({"NER/a": measured([1.0, 1, 1], [1.0, 1, 1]), "NER/b": measured([0.0], [0.5])})
    average = {figure.dataset: figure for figure in figures}[AVERAGE]
    assert average.label_f1 == 50
    assert average.label_recall == 75
    assert average.queries == 4
    assert average.seconds == 1.0


def test_results_are_a_table_json_and_a_plot(tmp_path):
    figures = summarise({"NER/a": measured([1.0, 0.5], [1.0, np.nan])})
    assert "| NER/a | 2 | 10 | 75.0 / 100.0 |" in table(figures, 8).splitlines()
    write_results(figures, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [(found["dataset"], found["k"], found["label_f1"]) for found in rows] == [
        ("NER/a", 8, 75),
        (AVERAGE, 8, 75),
    ]
    written = (tmp_path / "results.md").read_text("utf-8")
    assert written.startswith("| label F1@8 / label recall@8 |")
    assert written.endswith("| seconds | ours |\n|---|---:|\n| NER/a | 0.5 |\n| together | 0.5 |\n")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_real_sets_are_ranked_by_every_method(data_folder):
    sets = choose(read_catalog(data_folder), names=["RE/conll04"])
    figures = evaluate(sets, default_retrievers(every_method=True), (1, 8), queries=60, progress=False)
    at = {(figure.method, figure.k): figure.label_f1 for figure in figures if figure.dataset == AVERAGE}
    methods = ["random", "BM25", "BM25, label-vote", "embedded", "embedded, label-vote", "oracle"]
    assert list(at) == [(method, k) for method in methods for k in (1, 8)]
    for k in (1, 8):
        assert at["oracle", k] > at["BM25", k] > at["random", k]
        assert min(at["embedded", k], at["embedded, label-vote", k]) > at["random", k]
    assert at["embedded, label-vote", 8] > at["embedded", 8]


def test_the_vote_is_that_of_the_selector(data_folder):
    found = choose(read_catalog(data_folder), names=["RE/conll04"])[0]
    queries, pool = found.examples("dev", limit=30), found.examples("train", limit=60)  # few: the index is exact then
    with DemonstrationStore.create(pool, progress=False) as store:
        selected = Selector("label-vote", k=8).select_many(store, [query.query for query in queries])
        rows = by_selection("label-vote", rank_by_encoder(store.encoder))(queries, pool, (8,))[8]
    for shown, places in zip(selected, rows, strict=True):
        assert {each.example.content_id for each in shown} == {pool[row].content_id for row in places}


def test_an_adapted_encoder_is_trained_on_the_pool_and_ranks_better(data_folder):
    found = choose(read_catalog(data_folder), names=["RE/conll04"])[0]
    queries, pool = found.examples("dev", limit=60), found.examples("train", limit=200)
    overlap = label_f1_matrix(*count_matrices(queries, pool))
    before, after = (
        label_f1_at_k(overlap, select("similarity", rank(queries, pool), queries, pool, 8), 8).mean()
        for rank in (rank_by_encoder(load_encoder()), rank_by_adapted(steps=25))
    )
    assert after > before + 0.05
    assert "embedded, adapted" in default_retrievers(adapt=True)


def test_scores_are_computed_once_a_set():
    asked = []

    def rank(queries, pool):
        asked.append((queries, pool))
        return np.zeros((len(queries), len(pool)), np.float32)

    remembered, one, two = once(rank), [example("P")], [example("L")]
    remembered(one, two), remembered(one, two), remembered(two, one), remembered(one, two)
    assert asked == [(one, two), (two, one), (one, two)]


# likelihood of the gold answer


@pytest.fixture(scope="module")
def llm_folder(tmp_path_factory, starter_rows):
    """A tiny Llama with random weights far from uniform, so that its likelihoods differ, in a folder."""
    torch = pytest.importorskip("torch")
    from ruie_training.models.from_scratch import language_model_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llm") / "tiny"
    tokenizer = language_model_tokenizer([prompts.render_demonstration(row) for row in starter_rows("ED")], 600, 1024)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=1024, initializer_range=0.3, **size)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llm(llm_folder):
    from ruie_training.preferences.local import LocalScorer

    return LocalScorer.load(llm_folder, device="cpu")


def defined_likelihood(llm_folder, query, demonstrations):
    """One prompt as ``build_prompt`` writes it, all logits, the mean over the answer's tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(llm_folder), AutoTokenizer.from_pretrained(llm_folder)
    prompt = prompts.build_prompt(query.query, [Demonstration(example=row, score=1) for row in demonstrations]).text
    whole = tokenizer(f"{prompt} {prompts.render_answer(query)}")["input_ids"]
    before = len(tokenizer(prompt)["input_ids"])
    with torch.inference_mode():
        found = model(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return np.mean([found[place - 1, whole[place]].item() for place in range(before, len(whole))])


def test_likelihood_is_that_of_the_gold_answer_after_the_prompt_with_the_best_last(llm, llm_folder, starter_rows):
    rows = starter_rows("ED")
    queries, pool = rows[:3], rows[3:9]
    ranked = {"up": np.array([[0, 1, 2]] * 3), "down": np.array([[2, 1, 0]] * 2 + [[4, -1, -1]])}
    chosen = {(name, k): rows[:, :k] for name, rows in ranked.items() for k in (1, 3)}
    found = likelihood_at(llm, queries, pool, chosen)
    assert set(found) == {("up", 1), ("up", 3), ("down", 1), ("down", 3)}
    assert found["up", 3][0] == pytest.approx(defined_likelihood(llm_folder, queries[0], pool[:3]), abs=1e-4)
    assert found["down", 3][0] == pytest.approx(defined_likelihood(llm_folder, queries[0], pool[2::-1]), abs=1e-4)
    assert abs(found["up", 3][0] - found["down", 3][0]) > 1e-3  # the order counts
    assert found["down", 3][2] == pytest.approx(defined_likelihood(llm_folder, queries[2], [pool[4]]), abs=1e-4)
    assert found["down", 1][2] == found["down", 3][2]


def test_likelihood_asks_a_sample_and_the_same_queries_of_every_method(llm, starter_rows):
    rows = starter_rows("ED")
    chosen = {(name, 2): np.tile(np.arange(2), (10, 1)) for name in ("a", "b")}
    found = likelihood_at(llm, rows[:10], rows[10:], chosen, limit=4, seed=1)
    known = ~np.isnan(found["a", 2])
    assert known.sum() == 4
    assert (known == ~np.isnan(found["b", 2])).all()


def test_a_query_too_long_with_one_method_counts_with_none(llm_folder, starter_rows):
    from ruie_training.preferences.local import LocalScorer

    rows = starter_rows("ED")
    tokenizer = LocalScorer.load(llm_folder, device="cpu")._splitter
    short, long = np.zeros((2, 1), np.int64), np.array([[0], [1]])
    pool = [min(rows, key=lambda row: len(row.text)), max(rows, key=lambda row: len(row.text))]
    sizes = [len(tokenizer.split([prompt_and_answer(([shown], rows[0]))])[0][0]) for shown in pool]
    assert sizes[0] < sizes[1]
    scorer = LocalScorer.load(llm_folder, device="cpu", max_tokens=sizes[1] - 1)
    found = likelihood_at(scorer, [rows[0], rows[0]], pool, {("short", 1): short, ("long", 1): long})
    assert np.isnan(found["short", 1]).tolist() == np.isnan(found["long", 1]).tolist() == [False, True]


def with_likelihood(values):
    found = measured([1.0] * len(values), [1.0] * len(values))
    return Measured(found.label_f1, found.label_recall, found.seconds, len(values), 10, {("ours", 8): np.array(values)})


def test_likelihoods_stand_in_table_json_and_plot(tmp_path):
    sets = {"NER/a": [-1.0, -2.0, np.nan], "NER/b": [-3.0, np.nan, np.nan], "NER/c": [np.nan]}
    figures = summarise({name: with_likelihood(values) for name, values in sets.items()})
    assert [(found.dataset, found.likelihood, found.likelihood_queries) for found in figures] == [
        ("NER/a", -1.5, 2),
        ("NER/b", -3.0, 1),
        ("NER/c", None, 0),
        (AVERAGE, -2.25, 3),
    ]
    low, high = figures[-1].likelihood_interval
    assert -2.5 <= low < -2.25 < high <= -2.0
    lines = table(figures, 8).splitlines()
    assert lines[0].startswith("| label F1@8 / label recall@8 / likelihood@8 |")
    assert "| NER/a | 3 | 2 | 10 | 100.0 / 100.0 / -1.500 |" in lines
    assert "| NER/c | 1 | 0 | 10 | 100.0 / 100.0 / none |" in lines
    assert "-2.500 to -2.000" in lines[-1]
    write_results(figures, tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [found["likelihood"] for found in rows] == [-1.5, -3.0, None, -2.25]
    without = write_results(summarise({"NER/a": measured([1.0], [1.0])}), tmp_path / "without")
    assert width(tmp_path / "results.png") == 1.5 * width(without / "results.png")  # a third plot


def width(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20], "big")


# the command


def test_the_command_measures_encoders_with_an_llm(starter_data, encoder_folder, llm_folder, tmp_path):
    options = ["--data", starter_data, "--sets", "ED/starter", "--encoder", encoder_folder, "--k", 1, "--k", 2]
    asked = [*options, "--llm", llm_folder, "--llm-queries", 3, "--out", tmp_path / "out", "--no-progress"]
    result = CliRunner().invoke(app, ["evaluate", "retrieval", *map(str, asked), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    methods = ["random", "BM25", "tiny", "oracle"]
    average = {(found["method"], found["k"]): found for found in figures if found["dataset"] == AVERAGE}
    assert list(average) == [(method, k) for method in methods for k in (1, 2)]
    assert all(found["likelihood"] < 0 for found in average.values())
    assert {found["likelihood_queries"] for found in average.values()} == {3}
    assert average["oracle", 1]["label_f1"] >= average["random", 1]["label_f1"]
    assert json.loads((tmp_path / "out" / "results.json").read_text("utf-8")) == figures
    assert width(tmp_path / "out" / "results.png") > 0


def test_two_encoders_of_one_name_stand_apart(make_encoder, starter_data, tmp_path):
    folders = [make_encoder(tmp_path / place, seed=seed, name="same") for seed, place in enumerate(("one", "two"))]
    assert list(default_retrievers(folders)) == ["random", "BM25", "same", str(folders[1]), "oracle"]


def test_the_command_prints_tables_of_the_sets_of_a_role(starter_data, encoder_folder):
    options = ["--data", str(starter_data), "--held-out", "--encoder", str(encoder_folder), "--no-progress"]
    result = CliRunner().invoke(app, ["evaluate", "retrieval", *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("| label F1@8 / label recall@8 | queries | pool | random | BM25 | tiny |")
    assert "| ED/starter | 10 |" in result.stdout
    assert "NER/starter" not in result.stdout


def test_the_command_takes_the_sets_of_a_language_but_none_held_out(starter_data, encoder_folder):
    options = ["--data", str(starter_data), "--encoder", str(encoder_folder), "--no-progress"]
    result = CliRunner().invoke(app, ["evaluate", "retrieval", "--language", "en", *options])
    assert result.exit_code == 0, result.output
    assert "| NER/starter |" in result.stdout
    assert "ED/starter" not in result.stdout
    result = CliRunner().invoke(app, ["evaluate", "retrieval", "--language", "xx", *options])
    assert "no set has language xx" in str(result.exception)


def test_the_command_measures_a_pool_that_exists_with_the_encoder_of_the_package(starter_rows, tmp_path):
    examples = [example.model_copy(update={"dataset": None}) for example in starter_rows("NER")]
    DemonstrationStore.create(examples, path=tmp_path / "store", pool="mine").close()
    options = ["--store", str(tmp_path / "store"), "--pool", "mine", "--encoder", "embedded", "--no-progress"]
    result = CliRunner().invoke(app, ["evaluate", "retrieval", *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("| label F1@8 / label recall@8 | queries | pool | random | BM25 | embedded |")
    assert "| NER/mine |" in result.stdout


@pytest.mark.parametrize("which", [[], ["--held-in", "--held-out"], ["--held-in", "--language", "en"]])
def test_the_command_wants_one_choice_of_sets(starter_data, which):
    result = CliRunner().invoke(app, ["evaluate", "retrieval", "--data", str(starter_data), *which])
    assert result.exit_code == 2
    assert "one of --held-out" in " ".join(result.output.replace("│", " ").split())


def test_an_llm_that_is_not_there_is_told(starter_data, tmp_path):
    options = ["--data", str(starter_data), "--held-out", "--llm", str(tmp_path / "nowhere")]
    result = CliRunner().invoke(app, ["evaluate", "retrieval", *options])
    assert isinstance(result.exception, TrainingError)
    assert "no language model can be loaded" in str(result.exception)


def test_queries_without_labels_have_no_recall_in_table_and_json(tmp_path):
    none, one = np.array([np.nan, np.nan]), np.array([1.0, 0.5])
    figures = summarise({"NER/a": Measured({("BM25", 8): one}, {("BM25", 8): none}, {"BM25": 0.1}, 2, 9)})
    assert "| NER/a | 2 | 9 | 75.0 / none |" in table(figures, 8)
    write_results(figures, tmp_path)
    written = (tmp_path / "results.json").read_text("utf-8")
    (first, _) = json.loads(written, parse_constant=pytest.fail)  # NaN is no JSON
    assert (first["label_recall"], first["label_recall_interval"]) == (None, [None, None])
