import csv
import json
import threading
import warnings
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ruie_components import ChatModelError, DemonstrationStore, Example
from ruie_components.chat import CopyBaseline, Response
from ruie_components.cli.app import app
from ruie_components.errors import PromptTooLongError
from ruie_components.evaluation import (
    AnswerCache,
    CachedChatModel,
    EvaluationSet,
    Plan,
    experiment,
    measure,
    read_set,
    split_pool,
)
from ruie_components.evaluation.data import encoder_of
from ruie_components.evaluation.experiment import run_cost
from ruie_components.evaluation.selections import PoolStores
from ruie_components.evaluation.tables import averages, rows, table, write_results
from ruie_components.formats import write_examples
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.scoring import Counts, score
from ruie_components.starter import starter_examples

NAMES = ("precision", "recall", "f1", "tp", "fn", "fp")


@pytest.fixture(scope="module")
def data() -> EvaluationSet:
    rows = [example for example in starter_examples("NER") if example.annotations]
    return EvaluationSet("NER/starter", tuple(rows[12:]), tuple(rows[:12]))


@pytest.fixture(scope="module")
def measurements(data):
    plan = Plan([data], [CopyBaseline()], ["zero-shot", "bm25", "label-vote", "oracle"], ks=[2, 4])
    return measure(plan, concurrency=4, progress=False)


def test_every_condition_is_measured_once(measurements):
    settings = [one.condition.setting for one in measurements]
    assert settings == [
        "zero-shot k=0", "bm25 k=2", "bm25 k=4", "label-vote k=2", "label-vote k=4", "oracle k=2", "oracle k=4",
    ]  # fmt: skip


def test_concurrent_requests_leave_the_filters_of_warnings_as_they_were(data):
    together = threading.Barrier(2, timeout=10)

    class Truncated(CopyBaseline):
        def complete(self, prompt, *, constraint=None):
            together.wait()
            return replace(super().complete(prompt, constraint=constraint), truncated=True)

    before = list(warnings.filters)
    few = replace(data, inputs=data.inputs[:8])
    (one,) = measure(Plan([few], [Truncated()], ["bm25"]), concurrency=2, progress=False)
    assert all(result.usage.truncated for result in one.results)
    assert warnings.filters == before


def test_the_oracle_of_labels_has_the_highest_label_f1(measurements):
    found = {row["selection"] + str(row["k"]): row for row in rows(measurements)}
    assert found["oracle2"]["label_f1"] >= max(found["bm252"]["label_f1"], found["label-vote2"]["label_f1"])
    assert found["zero-shot0"]["span_f1"] == 0
    assert found["label-vote4"]["span_f1"] > 0
    assert (
        found["label-vote4"]["span_f1_low"] <= found["label-vote4"]["span_f1"] <= found["label-vote4"]["span_f1_high"]
    )
    assert sum(part["tp"] for part in found["label-vote4"]["labels"].values()) > 0


def test_inputs_never_see_themselves(data, measurements):
    for one in measurements:
        for example, result in zip(one.examples, one.results, strict=True):
            assert example.text not in {shown.example.text for shown in result.demonstrations}


def test_the_table_compares_with_the_reference(measurements):
    text = table(measurements, reference="bm25 k=4")
    assert "| bm25 k=4 |" in text
    compared = {name: difference for _, name, _, difference in averages(measurements, reference="bm25 k=4")}
    assert compared["bm25 k=4"] is None
    assert compared["zero-shot k=0"].value <= 0
    with pytest.raises(ValueError, match="was not measured"):
        table(measurements, reference="bm25 k=9")


def test_order_and_format_are_conditions(data):
    plan = Plan([data], [CopyBaseline()], ["bm25"], [3], [Order.SIMILAR_LAST, Order.SIMILAR_FIRST], list(AnswerFormat))
    found = measure(plan, progress=False)
    assert [one.condition.setting for one in found] == [
        "bm25 k=3", "bm25 k=3 similar-first", "bm25 k=3 json", "bm25 k=3 similar-first json",
    ]  # fmt: skip
    last, first = ([d.example.text for d in one.results[0].prompt.demonstrations] for one in found[:2])
    assert last == first[::-1]


def test_results_are_written(tmp_path, measurements):
    paths = write_results(tmp_path, measurements, prices=(1.0, 2.0))
    assert {path.name for path in paths} >= {"results.json", "results.csv", "results.md"}
    assert len(list((tmp_path / "errors").glob("*.html"))) == len(measurements)
    read = json.loads((tmp_path / "results.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert all(row["cost"] > 0 for row in read)
    with (tmp_path / "results.csv").open() as file:
        assert [row["selection"] for row in csv.DictReader(file)] == [row["selection"] for row in read]
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "paper" in text
    assert "What predicts F1" in text
    predicted = json.loads((tmp_path / "predictors.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert {row["predictor"] for row in predicted} == {"label_f1", "label_recall", "shared_words"}


def test_what_it_costs(measurements):
    row = next(row for row in rows(measurements, prices=(1.0, 20.0)) if row["selection"] == "bm25")
    assert row["tokens_read"] > 100 * row["inputs"]
    assert row["cost"] == pytest.approx((row["tokens_read"] + 20 * row["tokens_written"]) / 1e6)
    lines = table(measurements, prices=(1.0, 20.0)).splitlines()
    names, cells = ([cell.strip() for cell in line.split("|")] for line in (lines[0], lines[3]))
    shown = dict(zip(names, cells, strict=True))
    assert shown["selection"] == "bm25 k=2"
    assert float(shown["cost of 1,000"]) == pytest.approx(1000 * row["cost"] / row["inputs"], rel=0.01)
    assert float(shown["tokens"]) * row["inputs"] == pytest.approx(row["tokens_read"] + row["tokens_written"], rel=0.01)
    assert "cost" not in table(measurements)


def test_plots_are_drawn(tmp_path, measurements):
    pytest.importorskip("matplotlib")
    from matplotlib import image

    paths = [path for path in write_results(tmp_path, measurements) if path.suffix == ".png"]
    assert [path.name for path in paths] == ["f1-over-k.png", "f1-over-label-f1.png"]
    for path in paths:
        pixels = image.imread(path)[..., :3]
        assert pixels.shape[0] > 300
        assert ((pixels.max(-1) - pixels.min(-1)) > 0.2).mean() > 0.001  # curves or points are coloured


class Chatting(CopyBaseline):
    """The baseline, or in chat mode one that finds nothing."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    @property
    def settings(self):
        return {"mode": self._mode, "temperature": 0}

    def complete(self, prompt, *, constraint=None):
        return Response("None") if self._mode == "chat" else super().complete(prompt)


def test_two_models_with_one_name_are_told_apart(data):
    plan = Plan([data], [Chatting("completion"), Chatting("chat")], ["bm25"], [2])
    found = {one.condition.model: rows([one])[0]["span_f1"] for one in measure(plan, progress=False)}
    assert list(found) == ["baseline mode=completion", "baseline mode=chat"]
    assert found["baseline mode=completion"] > found["baseline mode=chat"] == 0
    with pytest.raises(ValueError, match="same name and settings"):
        Plan([data], [Chatting("chat"), Chatting("chat")])


class Failing(CopyBaseline):
    name = "failing"

    def __init__(self, every: int) -> None:
        self._every, self._calls = every, 0

    def complete(self, prompt, *, constraint=None):
        self._calls += 1
        if self._calls % self._every == 0:
            raise ValueError("no answer")
        return super().complete(prompt)


def test_failures_are_counted_and_not_averaged_away(data):
    (whole,) = measure(Plan([data], [CopyBaseline()], ["label-vote"], [4]), progress=False)
    (half,) = measure(Plan([data], [Failing(2)], ["label-vote"], [4]), retries=0, progress=False)
    assert half.failures == 6
    assert len(half.results) == len(whole.results)
    assert rows([half])[0]["span_recall"] < rows([whole])[0]["span_recall"]


def test_a_run_that_can_not_work_is_given_up(data):
    with pytest.raises(ValueError, match="no answer"):
        measure(Plan([data], [Failing(1)], ["bm25"], [4]), retries=0, progress=False)


def test_a_run_with_an_answer_goes_on_although_later_requests_fail_before_it_is_read(data, monkeypatch):
    class SecondAnswers(CopyBaseline):
        def __init__(self):
            super().__init__()
            self.calls = 0
            self.ended = threading.Event()

        def complete(self, prompt, *, constraint=None):
            self.calls += 1
            if self.calls == len(data.inputs):
                self.ended.set()
            if self.calls != 2:
                raise ValueError("no answer")
            return super().complete(prompt)

    model = SecondAnswers()

    @contextmanager
    def slow_reader(*_, **__):
        yield lambda _: model.ended.wait(timeout=10)

    monkeypatch.setattr(experiment, "track", slow_reader)
    (one,) = measure(Plan([data], [model], ["bm25"], [4]), retries=0, progress=False)
    assert one.failures == len(data.inputs) - 1


class ShortContext(CopyBaseline):
    """The baseline, whose context holds few demonstrations."""

    def complete(self, prompt, *, constraint=None):
        if len(prompt.demonstrations) > 2:
            raise PromptTooLongError("the prompt has more tokens than the context")
        return super().complete(prompt)


def test_prompts_that_are_too_long_do_not_end_a_run(data):
    long, short = measure(Plan([data], [ShortContext()], ["bm25"], [8, 2]), progress=False)
    assert (long.failures, short.failures) == (12, 0)
    assert rows([short])[0]["span_f1"] > 0


def test_a_failure_among_samples_costs_no_answer(data):
    (whole,) = measure(Plan([data], [CopyBaseline()], ["bm25"], [4]), progress=False)
    (half,) = measure(Plan([data], [Failing(2)], ["bm25"], [4]), retries=0, samples=1, progress=False)
    assert half.failures == 0  # every second request is a sample
    assert [one.extraction for one in half.results] == [one.extraction for one in whole.results]
    assert not any(one.confidence for one in half.results)
    assert half.failed_samples == rows([half])[0]["failed_samples"] == 12
    (some,) = measure(Plan([data], [Failing(3)], ["bm25"], [4]), retries=0, samples=2, progress=False)
    assert (some.failures, some.failed_samples) == (0, 12)  # the second of every two samples
    assert all(one.confidence for one in some.results if one.extraction.annotations)
    assert some.tokens == (2 * whole.tokens[0], 2 * whole.tokens[1])
    (sampled,) = measure(Plan([data], [CopyBaseline()], ["bm25"], [4]), samples=2, progress=False)
    assert sampled.failed_samples == 0
    assert all(one.confidence for one in sampled.results if one.extraction.annotations)
    assert sampled.tokens == (3 * whole.tokens[0], 3 * whole.tokens[1])  # what samples take is counted


def test_what_can_not_be_measured_is_said_before_the_run(data):
    plan = Plan([data], [CopyBaseline()], ["bm25", "zero-shot"], [2])
    plan.check_reference(None)
    plan.check_reference("zero-shot k=0")
    with pytest.raises(ValueError, match="'bm25' is not measured; there are bm25 k=2, zero-shot k=0"):
        plan.check_reference("bm25")
    with pytest.raises(ValueError, match="takes no grammar"):
        Plan([data], [CopyBaseline()], holds=[None, "labels"])


class Uncounted(CopyBaseline):
    """The baseline, which doesn't say how many tokens it has read."""

    def complete(self, prompt, *, constraint=None):
        return Response(super().complete(prompt).text)


def test_a_cost_that_is_not_known_is_left_open(data):
    found = measure(Plan([data], [Uncounted()], ["bm25"], [2]), progress=False)
    assert rows(found, prices=(1.0, 2.0))[0]["cost"] is None
    names, cells = ([c.strip() for c in line.split("|")] for line in table(found, prices=(1, 2)).splitlines()[:3:2])
    shown = dict(zip(names, cells, strict=True))
    assert (shown["tokens"], shown["cost of 1,000"]) == ("", "")


def test_every_line_of_a_plot_is_one_setting(tmp_path, data, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    legends = {}

    def keep(figure, path, **_):
        (axes,) = figure.axes
        legends[path.name] = [text.get_text() for text in axes.get_legend().get_texts()]

    monkeypatch.setattr(Figure, "savefig", keep)
    plan = Plan(
        [data], [Chatting("completion"), Chatting("chat")], ["bm25", "zero-shot"], [1, 2], formats=list(AnswerFormat)
    )
    write_results(tmp_path, measure(plan, progress=False))
    models = ("baseline mode=completion", "baseline mode=chat")
    settings = ("bm25", "zero-shot", "bm25 json", "zero-shot json")
    assert legends["f1-over-k.png"] == [f"{model} {setting}" for model in models for setting in settings]
    assert legends["f1-over-label-f1.png"] == [f"{model} {setting}" for model in models for setting in settings[::2]]


def test_results_by_label_task_and_pair(tmp_path, data):
    relations = [example for example in starter_examples("RE") if example.annotations]
    other = EvaluationSet("RE/starter", tuple(relations[6:]), tuple(relations[:6]))
    found = measure(Plan([data, other], [CopyBaseline()], ["bm25", "similarity"], [2]), progress=False)
    write_results(tmp_path, found)
    with (tmp_path / "labels.csv").open() as file:
        labels = list(csv.DictReader(file))
    for one in found:
        mine = [r for r in labels if (r["dataset"], r["setting"]) == (one.condition.dataset, one.condition.setting)]
        total = sum(one.counts(), Counts())
        assert [sum(int(row[kind]) for row in mine) for kind in ("tp", "fn", "fp")] == [total.tp, total.fn, total.fp]
    with (tmp_path / "differences.csv").open() as file:
        (pair,) = csv.DictReader(file)
    assert (pair["setting"], pair["other"]) == ("bm25 k=2", "similarity k=2")
    ((_, _, _, difference),) = [row for row in averages(found, reference="similarity k=2") if row[3]]
    assert float(pair["difference"]) == pytest.approx(difference.value)
    assert float(pair["p"]) == pytest.approx(difference.p)
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "| model | selection | NER | RE |" in text
    assert "Inputs: NER/starter 12, RE/starter 6." in text


def test_every_input_is_scored_once_for_each_mode(tmp_path, data, monkeypatch):
    measured = measure(Plan([data], [CopyBaseline()], ["bm25", "zero-shot"], [2]), progress=False)
    scored = Counter()

    def counting(examples, extractions, mode):
        scored[mode] += len(examples)
        return score(examples, extractions, mode)

    monkeypatch.setattr(experiment, "score", counting)
    write_results(tmp_path, measured)
    assert scored == {"span": 24, "paper": 24}


def test_the_labels_of_a_row_are_those_of_the_file(tmp_path, measurements):
    write_results(tmp_path, measurements)
    with (tmp_path / "labels.csv").open() as file:
        lines = [{name: float(row[name]) for name in NAMES} for row in csv.DictReader(file)]
    of_rows = [values for row in rows(measurements) for values in row["labels"].values()]
    assert of_rows == lines
    (one,) = [one for one in measurements if one.condition.setting == "label-vote k=4"]
    assert one.counts_by_label() == score(one.examples, [result.extraction for result in one.results], "span").labels


def test_pages_of_similar_settings_do_not_replace_each_other(tmp_path, data):
    def named(model):
        (one,) = measure(Plan([data], [model], ["zero-shot"]), progress=False)
        return one

    names = ("a:b", "a*b", "a" * 300, "a" * 301, "模型" * 60, "模型" * 61)  # the last have 3 bytes a character
    models = [Failing(10**9) for _ in names]
    for model, name in zip(models, names, strict=True):
        model.name = name
    write_results(tmp_path, [named(model) for model in models])
    assert len(list((tmp_path / "errors").iterdir())) == len(names)


def test_a_dry_run_says_what_remains(tmp_path, data):
    with closing(AnswerCache(tmp_path / "a.sqlite")) as cache:
        done = Plan([data], [CachedChatModel(CopyBaseline(), cache)], ["bm25"], [2])
        measure(done, progress=False)
        plan = Plan([data], [CachedChatModel(CopyBaseline(), cache)], ["bm25", "zero-shot"], [2])
        cost = run_cost(plan, cache)
        assert (cost.calls, cost.new_calls) == (24, 12)
        assert 0 < cost.new_tokens < cost.tokens / 2
        sampled = run_cost(plan, cache, samples=3)
        assert (sampled.calls, sampled.new_calls) == (96, 84)
        assert sampled.tokens == 4 * cost.tokens


def test_a_killed_run_resumes_from_the_cache(tmp_path, data):
    with closing(AnswerCache(tmp_path / "a.sqlite")) as cache:
        measure(Plan([data], [CachedChatModel(Failing(8), cache)], ["bm25"], [2]), retries=0, progress=False)
    with closing(AnswerCache(tmp_path / "a.sqlite")) as cache:
        whole = Plan([data], [CachedChatModel(Failing(10**9), cache)], ["bm25"], [2])
        (again,) = measure(whole, progress=False)
    assert again.failures == 0
    assert whole.models[0].model._calls == 1  # the one that had failed


def test_a_pool_of_one_s_own_is_split(encoder):
    with DemonstrationStore.create(starter_examples("RE"), pool="split", encoder=encoder, progress=False) as store:
        data = split_pool(store, inputs=10, seed=1)
        assert len(data.inputs) == 10
        assert {one.text for one in data.inputs}.isdisjoint(one.text for one in data.pool)
        assert split_pool(store, inputs=10, seed=1) == data
        assert split_pool(store, inputs=10, seed=2) != data


def test_a_pool_of_several_tasks_is_measured_by_its_encoder(tmp_path, encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = [*starter_examples("NER"), *starter_examples("RE")]
    with DemonstrationStore.create(examples, path="pool", encoder=encoder_folder, progress=False) as store:
        fingerprint = store.encoder.fingerprint
        assert encoder_of(store) is store.encoder
        with pytest.raises(ValueError, match=r"holds no ED rows; it holds NER, RE"):
            split_pool(store, "ED")
        with pytest.raises(ValueError, match=r"holds NER, RE: give the task"):
            split_pool(store)
    used = []
    monkeypatch.setattr(PoolStores, "close", lambda self: used.extend(self._stores.values()))
    common = ["evaluate", "extraction", "--store", "pool", "--inputs", "2", "-k", "2", "--selection", "similarity"]
    common += ["--model", "baseline", "--json"]
    other = CliRunner().invoke(app, common)
    assert "was built with encoder" in str(other.exception)
    both = CliRunner().invoke(app, [*common, "--encoder", str(encoder_folder)])
    assert both.exit_code == 0, both.output
    assert [row["task"] for row in json.loads(both.stdout)] == ["NER", "RE"]
    assert {store.encoder.fingerprint for store in used} == {fingerprint}
    one = CliRunner().invoke(app, [*common, "--encoder", str(encoder_folder), "--task", "RE"])
    assert [row["task"] for row in json.loads(one.stdout)] == ["RE"]
    absent = CliRunner().invoke(app, [*common, "--encoder", str(encoder_folder), "--task", "ED"])
    assert "it holds NER, RE" in str(absent.exception)
    wrong = CliRunner().invoke(app, ["evaluate", "extraction", "--data", "x", "--sets", "NER/x", "--task", "NER"])
    assert wrong.exit_code == 2
    assert "--task" in wrong.output
    for store in used:
        store.close()


def test_a_folder_of_data_is_read(tmp_path):
    examples = [one for one in starter_examples("ED") if one.annotations]
    folder = tmp_path / "ED" / "mine"
    folder.mkdir(parents=True)
    write_examples(folder / "train.jsonl", examples[:40])
    write_examples(folder / "dev.jsonl", examples[35:])
    data = read_set(tmp_path, "ED/mine", split="dev", inputs=8)
    assert (len(data.pool), len(data.inputs)) == (40, 8)
    assert {one.text for one in data.inputs}.isdisjoint(one.text for one in data.pool)
    with pytest.raises(FileNotFoundError, match=r"no test\.jsonl"):
        read_set(tmp_path, "ED/mine", split="test")


@pytest.mark.parametrize("name", ["nearest", "bm25[x]", "oracle[x]", ""])
def test_an_unknown_selection_is_refused(data, name):
    with pytest.raises(ValueError, match="no selection"):
        Plan([data], [CopyBaseline()], [name])


def test_chat_model_errors_are_raised_as_they_are(data):
    class Gone(CopyBaseline):
        def complete(self, prompt, *, constraint=None):
            raise ChatModelError("no server")

    with pytest.raises(ChatModelError, match="no server"):
        measure(Plan([data], [Gone()], ["zero-shot"]), progress=False)


def test_a_pool_of_one_row_can_not_be_split():
    ada = {"type": "person", "text": "Ada", "start": 0, "end": 3}
    one = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    with (
        DemonstrationStore.create([one], pool="one", progress=False) as store,
        pytest.raises(ValueError, match="at least 8"),
    ):
        split_pool(store)


def test_the_command(tmp_path, encoder):
    folder = str(tmp_path / "pool")
    DemonstrationStore.create(starter_examples("NER"), path=folder, progress=False).close()
    common = [
        "evaluate",
        "extraction",
        "--store",
        folder,
        "--inputs",
        "6",
        "-k",
        "2",
        "--cache",
        f"{tmp_path}/a.sqlite",
    ]
    dry = CliRunner().invoke(app, [*common, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "12 calls" in dry.output
    assert "to read them costs" in CliRunner().invoke(app, [*common, "--dry-run", "--price", "1", "2"]).output
    as_json = CliRunner().invoke(app, [*common, "--dry-run", "--json"])
    assert json.loads(as_json.stdout)["calls"] == 12
    unknown = CliRunner().invoke(app, [*common, "--reference", "bm25 k=8"])
    assert isinstance(unknown.exception, ValueError)
    assert not (tmp_path / "a.sqlite").stat().st_size > 20_000  # nothing was answered
    done = CliRunner().invoke(app, [*common, "--out", f"{tmp_path}/out", "--model", "baseline"])
    assert done.exit_code == 0, done.output
    assert "| similarity k=2 |" in done.output
    assert "What predicts F1" in done.output
    assert (tmp_path / "out" / "results.json").is_file()
    wrong = CliRunner().invoke(app, ["evaluate", "extraction"])
    assert wrong.exit_code == 2
    assert "--data with --sets, or --store" in wrong.output
