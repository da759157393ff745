"""What labels mean: kept with the pool, shown in prompts, written beside rows."""

import json
import sys

import pytest
from pydantic import BaseModel, Field

from ruie_components import DemonstrationStore, Example, Extractor, Query, StoreError
from ruie_components.cli.app import main
from ruie_components.formats import read_examples, write_examples
from ruie_components.prompts import build_prompt, estimate_tokens

ADA = Example(
    task="NER", text="Ada slept in Rome.", labels=["city", "person"],
    entities=[{"text": "Ada", "type": "person", "start": 0, "end": 3}],
)  # fmt: skip
MEANINGS = {"person": "A human with\na name.", "city": "A town.", "other": "Not asked for."}
SHOWN = "\n\nWhat the labels mean:\n- person: A human with a name.\n- city: A town."
QUERY = Query(task="NER", text="Bob ran.", labels=["person", "city"])


def test_prompts_show_the_descriptions_of_the_labels_asked_for_as_far_as_they_fit():
    plain = build_prompt(QUERY)
    described = build_prompt(QUERY, descriptions=MEANINGS)
    assert described.instruction == plain.instruction + SHOWN
    assert described.tokens - plain.tokens == estimate_tokens(described.instruction) - estimate_tokens(
        plain.instruction
    )
    fitted = build_prompt(QUERY, descriptions=MEANINGS, max_tokens=described.tokens - 1)
    assert fitted.instruction == plain.instruction + SHOWN.rpartition("\n")[0]
    assert build_prompt(QUERY, descriptions=MEANINGS, max_tokens=plain.tokens).instruction == plain.instruction
    assert build_prompt(QUERY, descriptions={"other": "x"}) == plain


class Trip(BaseModel):
    person: str = Field(description="Who travels.")
    city: str


def test_a_pool_keeps_descriptions(tmp_path, encoder):
    with DemonstrationStore.create([ADA], path=tmp_path / "s", encoder=encoder, progress=False) as store:
        store.describe_labels(MEANINGS)
        store.describe_labels({"other": ""})
        store.describe_labels(Trip)
        store.add([ADA.model_copy(update={"text": "Ada left Rome."})])
    with DemonstrationStore.open(tmp_path / "s", encoder=encoder) as store:
        assert store.label_descriptions() == {"person": "Who travels."}
        seen = []
        model = lambda messages: seen.append(messages[0][1]) or "None"  # noqa: E731
        Extractor(store, model, k=0).extract(QUERY)
        Extractor(store, model, k=0, descriptions=True).extract(QUERY)
        Extractor(store, model, k=0, descriptions={"city": "A town."}).extract(QUERY)
        assert [text.partition("What the labels mean:")[2] for text in seen] == [
            "",
            "\n- person: Who travels.",
            "\n- city: A town.",
        ]


def test_an_empty_pool_has_no_labels_to_describe(encoder):
    with DemonstrationStore.create(encoder=encoder) as store, pytest.raises(StoreError, match="no examples yet"):
        store.describe_labels({"person": "x"})


def test_descriptions_go_through_import_index_and_export(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_examples("a.jsonl", [ADA])
    (tmp_path / "m.toml").write_text('[describe]\nperson = "A human."\n', "utf-8")
    for arguments in (
        ["import", "a.jsonl", "--to", "b.jsonl", "--mapping", "m.toml"],
        ["index", "b.jsonl", "--store", "s"],
        ["export", "--store", "s", "--to", "c.jsonl"],
        ["sync", "c.jsonl", "--store", "t"],
    ):
        monkeypatch.setattr(sys, "argv", ["ruie", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err
    assert json.loads((tmp_path / "c.labels.json").read_text()) == {"describe": {"person": "A human."}}
    assert list(read_examples("c.jsonl")) == [ADA]
    with DemonstrationStore.open("t") as store:
        assert store.label_descriptions() == {"person": "A human."}


def test_files_of_one_data_set_have_descriptions_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_examples("a.jsonl", [ADA])
    for split in ("train", "test"):
        (tmp_path / "m.toml").write_text(f'[describe]\nperson = "A human of {split}."\n', "utf-8")
        to = f"news.{split}.jsonl.gz"
        monkeypatch.setattr(sys, "argv", ["ruie", "import", "a.jsonl", "--to", to, "--mapping", "m.toml"])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, capsys.readouterr().err
    described = {path.name: json.loads(path.read_text())["describe"]["person"] for path in tmp_path.glob("*.json")}
    assert described == {"news.train.labels.json": "A human of train.", "news.test.labels.json": "A human of test."}
