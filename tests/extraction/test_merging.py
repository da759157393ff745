"""The shards of a corpus make one run."""

import json
import shutil

import pytest

from ruie_components import ChatModelError
from ruie_components.errors import RuieError
from ruie_components.extraction import Chunking
from ruie_components.extraction.budget import Budget
from ruie_components.extraction.merging import merge_runs
from ruie_components.extraction.run_folder import RESULTS, locked

from .corpus_runs import DOCUMENTS, as_copier, rows_in, summary_in
from .many import Copier

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_shards_make_the_whole_whatever_their_order_and_however_often_they_are_merged(run, tmp_path):
    _, whole = run(Copier())
    for i in (3, 1, 2):
        run(Copier(), out=f"shard-{i}", shard=(i, 3))
    folders = [tmp_path / f"shard-{i}" for i in (2, 3, 1)]
    summary = merge_runs(folders, tmp_path / "merged", progress=False)
    first = (tmp_path / "merged" / "results.jsonl").read_bytes()
    merge_runs(folders[::-1], tmp_path / "merged", progress=False)
    assert (tmp_path / "merged" / "results.jsonl").read_bytes() == first
    merged = rows_in(tmp_path / "merged")
    assert [row["id"] for row in merged] == [row["id"] for row in whole]
    assert [row["extraction"] for row in merged] == [row["extraction"] for row in whole]
    assert (summary.documents, summary.calls, summary.complete) == (10, 10, True)
    with pytest.raises(RuieError, match="shard 3/3 is missing"):
        merge_runs([folders[0], folders[2]], tmp_path / "merged")
    with pytest.raises(RuieError, match="give each shard once"):
        merge_runs([*folders, folders[0]], tmp_path / "merged")
    with pytest.raises(RuieError, match="is one of the shards"):
        merge_runs(folders, folders[1])
    run(Copier(), out="part", shard=(1, 3), budget=Budget(calls=1))
    with pytest.raises(RuieError, match=r"shard 1/3 in .* is not complete"):
        merge_runs([tmp_path / "part", *folders[:2]], tmp_path / "merged")
    with pytest.raises(RuieError, match="is not a shard"):
        merge_runs([tmp_path / "run"], tmp_path / "merged")


def test_a_shard_that_has_grown_or_failed_since_its_summary_is_not_merged(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), DOCUMENTS[:2], out=folder.name, shard=(i, 2))
    seen = []

    @as_copier
    def model(messages):  # as a process sees the folder that is killed here
        seen.append(summary_in(folders[1])["complete"])
        raise ConnectionError("gone")

    with pytest.raises(ChatModelError, match="gone"):
        run(model, out="shard-2", shard=(2, 2), concurrency=1)
    assert not any(seen)
    with pytest.raises(RuieError, match=r"shard 2/2 in .* is not complete"):
        merge_runs(folders, tmp_path / "merged")
    run(Copier(), out="shard-2", shard=(2, 2))
    run(Copier(), out="shard-1", shard=(1, 2))
    with (folders[0] / RESULTS).open("a") as file:
        file.write(json.dumps(rows_in(folders[0])[0]) + "\n")
    with pytest.raises(RuieError, match=r"shard-1 has more rows than its summary\.json says"):
        merge_runs(folders, tmp_path / "merged")
    assert not (tmp_path / "merged" / RESULTS).exists()


def test_a_merge_replaces_an_unrelated_run_only_when_told(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), out=folder.name, shard=(i, 2))
    out = tmp_path / "out"
    others = {
        "other settings": {"chunking": Chunking(max_tokens=100)},
        "another corpus": {"documents": [{"text": "Here Eve slept."}]},
        "over another corpus": {"documents": [*DOCUMENTS, {"text": "Here Eve slept."}]},
    }
    for message, other in others.items():
        run(Copier(), out="out", overwrite=True, **other)
        before = (out / RESULTS).read_bytes()
        with pytest.raises(RuieError, match=message):
            merge_runs(folders, out, progress=False)
        assert (out / RESULTS).read_bytes() == before
        assert merge_runs(folders, out, overwrite=True, progress=False).documents == 10
        assert len(rows_in(out)) == 10
        shutil.rmtree(out)
    with locked(out), pytest.raises(RuieError, match="another process is writing its results"):
        merge_runs(folders, out, progress=False)


def test_shards_of_machines_with_servers_of_their_own_are_merged(run, tmp_path):
    folders = [tmp_path / f"shard-{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        run(Copier(), out=folder.name, shard=(i, 2))
        settings = json.loads((folder / "run.json").read_text())
        settings["extractor"]["model_settings"]["base_url"] = f"http://gpu{i}:8000/v1"
        (folder / "run.json").write_text(json.dumps(settings))
    assert merge_runs(folders, tmp_path / "merged", progress=False).documents == 10
    assert merge_runs(folders[::-1], tmp_path / "merged", progress=False).documents == 10
    settings["extractor"]["answer_format"] = "json"
    (folders[1] / "run.json").write_text(json.dumps(settings))
    with pytest.raises(RuieError, match=r"different settings \(extractor.answer_format\): extract one of them again"):
        merge_runs(folders, tmp_path / "merged")
