import gzip
import json

import pytest
from ruie_training.data.catalog import DataError, Role, choose, measurable, read_catalog, read_sets, training_sets

from ruie_components import DemonstrationStore, Example
from ruie_components.errors import RowError


def row(text, label="person", start=0):
    span = {"text": text[start : start + 3], "type": label, "start": start, "end": start + 3}
    return {"task": "NER", "text": text, "schema": ["person", "place"], "entities": [span]}


def entry(dataset, role, permissive, task="NER", language="en"):
    return {
        "task": task,
        "dataset": dataset,
        "role": role,
        "domain": "news",
        "language": language,
        "source": "somewhere @ 1 : file",
        "licence": "CC BY 4.0",
        "permissive": permissive,
        "rows": {"train": 3, "dev": 1, "test": 1},
        "note": "not read",
    }


@pytest.fixture
def folder(tmp_path):
    entries = [
        entry("free", "held-in", True),
        entry("closed", "held-in", False),
        entry("away", "held-out", True),
        entry("libre", "extra", True, language="pt"),
    ]
    (tmp_path / "catalog.json").write_text(json.dumps(entries), "utf-8")
    home = tmp_path / "NER" / "free"
    home.mkdir(parents=True)
    rows = [row(f"Ada met Bob {number}.") for number in range(9)]
    with gzip.open(home / "train.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(found) + "\n" for found in rows)
    return tmp_path


def test_what_ships_is_trained_on_permissive_sets_that_are_not_held_out(folder):
    assert [found.name for found in training_sets(folder)] == ["NER/free", "NER/libre"]


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ({"roles": ["held-out"]}, ["NER/away"]),
        ({"roles": [Role.HELD_IN], "permissive": False}, ["NER/closed"]),
        ({"languages": ["pt"]}, ["NER/libre"]),
        ({"names": ["NER/away", "NER/free"]}, ["NER/free", "NER/away"]),
    ],
)
def test_sets_are_chosen_by_what_the_catalog_says(folder, conditions, names):
    assert [found.name for found in choose(read_catalog(folder), **conditions)] == names


def test_a_set_that_is_not_there_is_named(folder):
    with pytest.raises(DataError, match="unknown set NER/freee; the sets are NER/free"):
        choose(read_catalog(folder), names=["NER/freee"])


def test_no_set_at_all_is_an_error(folder):
    with pytest.raises(DataError, match="no set"):
        choose(read_catalog(folder), tasks=["RE"])


def test_a_draw_keeps_the_order_and_depends_on_the_seed_alone(folder):
    (found,) = choose(read_catalog(folder), names=["NER/free"])
    everything = [example.text for example in found.examples()]
    drawn = [example.text for example in found.examples(limit=4, seed=1)]
    assert len(drawn) == 4
    assert drawn == [text for text in everything if text in drawn]
    assert drawn == [example.text for example in found.examples(limit=4, seed=1)]
    draws = {tuple(example.text for example in found.examples(limit=4, seed=seed)) for seed in range(8)}
    assert len(draws) > 4


def test_a_split_that_is_not_there_is_named(folder):
    (found,) = choose(read_catalog(folder), names=["NER/free"])
    with pytest.raises(DataError, match="NER/free has no split 'dev'"):
        found.examples("dev")


def test_a_wrong_row_is_an_error_and_not_skipped(folder):
    (found,) = choose(read_catalog(folder), names=["NER/free"])
    with gzip.open(found.folder / "dev.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.write(json.dumps(row("Ada slept.")) + "\n" + json.dumps(row("Ada slept.", label="ghost")) + "\n")
    with pytest.raises(RowError, match=r"dev\.jsonl\.gz.*2"):
        found.examples("dev")


@pytest.mark.parametrize("content", [None, "{", '[{"task": "NER"}]', '{"a": 1}'])
def test_a_missing_or_broken_catalog_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "catalog.json").write_text(content, "utf-8")
    with pytest.raises(DataError, match="catalog"):
        read_catalog(tmp_path)


def test_a_catalog_in_another_encoding_is_an_error(tmp_path):
    (tmp_path / "catalog.json").write_bytes('[{"task": "NER", "dataset": "café", "role": "extra"}]'.encode("latin-1"))
    with pytest.raises(DataError, match="not a valid catalog: 'utf-8' codec"):
        read_catalog(tmp_path)


def test_the_real_catalog_holds_nothing_out_of_training_by_mistake(data_folder):
    sets = training_sets(data_folder)
    assert all(found.permissive and found.role is not Role.HELD_OUT for found in sets)
    assert {"en", "zh", "pt"} <= {found.language for found in sets}


def test_plain_rows_are_a_set_with_a_train_and_a_dev_split(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row(f"Ada met Bob {number}.")) + "\n" for number in range(40)), "utf-8")
    (found,) = read_sets(path)
    assert (found.name, found.role) == ("NER/mine", Role.OWN)
    train, dev = ({example.text for example in found.examples(split)} for split in ("train", "dev"))
    assert not train & dev
    assert len(train | dev) == 40
    assert found.size("dev") == len(dev)
    assert choose([found], roles=["held-out"], permissive=True) == [found]
    (again,) = read_sets(tmp_path)
    assert again.examples("dev") == found.examples("dev")
    assert again.content_hash("dev") == found.content_hash("dev") != found.content_hash("train")


def test_a_pool_of_a_store_is_a_set(tmp_path):
    rows = [Example.model_validate(row(f"Ada met Bob {number}.")) for number in range(30)]
    with DemonstrationStore.create(rows, path=tmp_path / "store", pool="people", progress=False):
        pass
    (found,) = read_sets(tmp_path / "store", "people")
    assert found.name == "NER/people"
    assert found.size("train") + found.size("dev") == 30


def test_a_set_of_few_texts_is_trained_on_and_not_measured(tmp_path):
    rows = [{**row(f"Ada met Bob {number}."), "dataset": "large"} for number in range(40)]
    rows += [{**row(f"Ada ran {number}."), "dataset": f"small {number}"} for number in range(10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    sets = read_sets(tmp_path)
    assert sum(found.size("train") + found.size("dev") for found in sets) == 50
    assert all(found.size("train") for found in sets)
    assert [found.dataset for found in measurable(sets)] == ["large"]


@pytest.mark.parametrize(
    ("files", "train", "dev"),
    [
        (("train.jsonl", "dev.jsonl", "test.jsonl"), {"train"}, {"dev"}),
        (("train.jsonl.gz", "validation.jsonl.gz", "test.jsonl.gz"), {"train"}, {"validation"}),
        (("Train.jsonl", "test.jsonl", "more.jsonl"), {"Train", "more"}, {"Train", "more"}),  # dev: a fifth of them
        (("first.jsonl", "test.jsonl"), {"first", "test"}, {"first", "test"}),  # without train they are no splits
    ],
)
def test_files_named_after_splits_are_splits(tmp_path, files, train, dev):
    for name in files:
        stem = name.partition(".")[0]
        rows = [{**row(f"Ada {stem} {number}."), "dataset": "x"} for number in range(30)]
        with (gzip.open if name.endswith(".gz") else open)(tmp_path / name, "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(each) + "\n" for each in rows)
    (found,) = read_sets(tmp_path)
    for split, expected in (("train", train), ("dev", dev)):
        assert {example.text.split()[1] for example in found.examples(split)} == expected


def test_a_catalog_s_splits_may_be_uncompressed(folder):
    (found,) = choose(read_catalog(folder), names=["NER/free"])
    before = found.content_hash()
    (found.folder / "dev.jsonl").write_text(json.dumps(row("Ada slept.")) + "\n", "utf-8")
    assert [example.text for example in found.examples("dev")] == ["Ada slept."]
    assert found.content_hash() != before
    with pytest.raises(DataError, match=r"no file .*test\.jsonl\.gz or .*test\.jsonl"):
        found.examples("test")


def test_a_set_that_a_catalog_has_twice_is_refused(tmp_path):
    entries = [entry("news", "held-in", True), entry("news", "held-out", True)]
    (tmp_path / "catalog.json").write_text(json.dumps(entries), "utf-8")
    with pytest.raises(DataError, match="lists NER/news more than once"):
        read_catalog(tmp_path)


def test_too_few_rows_and_no_rows_are_errors(tmp_path):
    with pytest.raises(DataError, match="holds no data: expected a"):
        read_sets(tmp_path)
    (tmp_path / "one.jsonl").write_text(json.dumps(row("Ada met Bob.")) + "\n", "utf-8")
    with pytest.raises(DataError, match="has 1 row, too few"):
        read_sets(tmp_path)


def test_the_condition_that_leaves_no_set_is_named(folder):
    sets = choose(read_catalog(folder), roles=["held-in"])
    with pytest.raises(DataError, match=r"the stage x: no set has role held-out; the sets .* have held-in"):
        choose(sets, roles=["held-out"], purpose="the stage x")
