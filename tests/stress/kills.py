"""Kills the commands that write, at random moments, and checks what each kill left behind.

    python tests/stress/kills.py --kills 200 index extract corpus sync adapt
    python tests/stress/kills.py --minutes 7 corpus

Every command runs in a process of its own that is ended by SIGKILL. The processes are forked from this one, which has
imported the package and opened nothing, so that the kills hit work and not imports. After each kill another process
opens what is left: nothing may be lost, nothing may be there twice, every row must be reachable through the index, and
nothing may need a hand. The next run of the command resumes. When a run ends by itself, its result must be complete;
then the work begins again in a new folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruie_components import DemonstrationStore, Example, StoreError, cli
from ruie_components.adaptation import Adaptation  # noqa: F401 - imported before the forks, as all that follows
from ruie_components.extraction import Extractor  # noqa: F401
from ruie_components.store import engine, reindexing  # noqa: F401
from ruie_components.types import Task

HANGS_AFTER = 300  # seconds
NOTHING = -(10**9)  # less than any progress
ROWS_HELP = (
    "rows that index writes and sync starts from, six for each text of extract; default 2500. corpus and adapt have "
    "sizes of their own"
)
NAMES = ("Ada", "Bob", "Cy", "Dan", "Eve", "Fay", "Gil", "Hal")
CITIES = ("Rome", "Oslo", "Graz", "Bern", "Kyiv", "Lima", "Nice", "York")


def ner(number: int, *, label: str = "person") -> Example:
    """A row with a text of its own."""
    name = NAMES[number % len(NAMES)]
    text = f"{name} slept in {CITIES[number // 8 % len(CITIES)]} on day {number}."
    entity = {"text": name, "type": label, "start": 0, "end": len(name)}
    return Example(task="NER", text=text, labels=["person", "robot"], entities=[entity])


def topic(number: int) -> Example:
    """A row whose label can be told from one of its words, so that an encoder gains by learning which."""
    word, label = (("sails", "boat"), ("wheels", "car"), ("wings", "plane"), ("rails", "train"))[number % 4]
    filler = " ".join(random.Random(number).choices(("old", "new", "red", "big", "fast", "slow", "good", "dear"), k=6))
    text = f"The Vela{number} {filler} has {word}."
    entity = {"text": f"Vela{number}", "type": label, "start": 4, "end": 8 + len(str(number))}
    return Example(task="NER", text=text, labels=["boat", "car", "plane", "train"], entities=[entity])


def write_rows(path: Path, examples: Sequence[Example]) -> Path:
    path.write_text("".join(json.dumps(example.to_row()) + "\n" for example in examples), "utf-8")
    return path


class DamageError(AssertionError):
    """What a kill must not leave."""


def expect(condition: object, message: str) -> None:
    if not condition:
        raise DamageError(message)


def stored_rows(path: Path, encoder: Path | None, *, complete: bool = False) -> dict[str, Example] | None:
    """The rows of a pool that was left, by id, each once and reachable; ``None`` where there is no pool."""
    try:
        store = DemonstrationStore.open(path, encoder=encoder)
    except StoreError as error:
        expect(not complete, f"a finished run left no pool: {error}")
        expect("no store in" in str(error) or "there is no pool" in str(error), f"it does not open: {error}")
        return None
    with store:
        examples = list(store.examples())
        rows = {example.content_id: example for example in examples}
        expect(len(rows) == len(examples) == store.count(), f"{len(examples)} rows, {len(rows)} different ones")
        check = store.check_index()
        expect(check.checked == len(rows), f"{check.checked} of {len(rows)} rows are in the index")
        expect(check.recall == 1, f"rows that can't be reached: {check}")
        for task in store.tasks if examples else ():
            sample = examples[:: max(1, len(examples) // 20)]
            vectors = store.encoder.encode_examples(sample)
            stored = store._pool.collections[task].get(
                ids=[example.content_id for example in sample], include=["embeddings"]
            )
            by_id = dict(zip(stored["ids"], stored["embeddings"], strict=True))
            for example, vector in zip(sample, vectors, strict=True):
                apart = abs(by_id[example.content_id] - vector).max()
                expect(apart < 1e-4, f"a row has another encoder's vector: {example.text!r} by {apart}")
        if complete:
            names = {collection.name for collection in store._pool.connection.client.list_collections()}
            left = names - {f"{store.pool}.{task}" for task in Task}
            expect(not left, f"collections are left over: {left}")
    return rows


class Work:
    """A command with what it needs and what it must leave; ``folder`` is where it all is."""

    rows = 2500
    """How much work ``index``, ``sync`` and ``extract`` have; ``corpus`` and ``adapt`` have sizes of their own."""

    def __init__(self, folder: Path, encoder: Path | None) -> None:
        self.folder, self.encoder = folder, encoder
        self.store = folder / "store"
        self.kills = 0
        """How often the command was killed in this folder."""

    def options(self) -> list[str]:
        return ["--store", str(self.store), *(["--encoder", str(self.encoder)] if self.encoder else [])]

    def prepare(self) -> None:
        """Write what the command needs."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def check(self, before: int, *, complete: bool) -> int:
        """Look at what is left; give a number that must never fall until the work is complete."""
        raise NotImplementedError


class Index(Work):
    def prepare(self) -> None:
        write_rows(self.folder / "rows.jsonl", [ner(number) for number in range(self.rows)])

    def command(self) -> list[str]:
        return ["index", str(self.folder / "rows.jsonl"), *self.options()]

    def check(self, before: int, *, complete: bool) -> int:
        rows = stored_rows(self.store, self.encoder, complete=complete) or {}
        expect(set(rows) <= {ner(number).content_id for number in range(self.rows)}, "rows that nobody wrote")
        expect(len(rows) >= before, f"{before} rows before, {len(rows)} now")
        expect(not complete or len(rows) == self.rows, f"a finished run left {len(rows)} of {self.rows}")
        return len(rows)


class Sync(Work):
    """From some rows to as many others: three fifths the same, a fifth with a corrected label, a fifth new."""

    @property
    def old(self) -> tuple[tuple[int, int, str], ...]:
        return ((0, self.rows, "person"),)

    @property
    def new(self) -> tuple[tuple[int, int, str], ...]:
        fifth = self.rows // 5
        return (
            (0, 3 * fifth, "person"),
            (3 * fifth, 4 * fifth, "robot"),
            (self.rows, self.rows + self.rows - 4 * fifth, "person"),
        )

    @staticmethod
    def examples(ranges: tuple[tuple[int, int, str], ...]) -> list[Example]:
        return [ner(number, label=label) for start, end, label in ranges for number in range(start, end)]

    def prepare(self) -> None:
        with DemonstrationStore.create(self.examples(self.old), self.store, encoder=self.encoder, progress=False):
            write_rows(self.folder / "rows.jsonl", self.examples(self.new))

    def command(self) -> list[str]:
        return ["sync", str(self.folder / "rows.jsonl"), *self.options()]

    def check(self, before: int, *, complete: bool) -> int:
        rows = set(stored_rows(self.store, self.encoder, complete=True) or {})
        old, new = ({each.content_id for each in self.examples(ranges)} for ranges in (self.old, self.new))
        expect(rows <= old | new, "rows that nobody wrote")
        expect(old & new <= rows, f"{len((old & new) - rows)} rows are lost that stay")
        expect(old <= rows or new <= rows, "old rows were removed before all new ones were there")
        expect(not complete or rows == new, f"a finished run left {len(rows - new)} old, lacks {len(new - rows)} new")
        progress = len(rows & new) - len(rows & (old - new))
        expect(progress >= before, f"progress {before} before, {progress} now")
        return progress


class Extract(Work):
    @property
    def texts(self) -> int:
        return self.rows // 6

    def prepare(self) -> None:
        with DemonstrationStore.create(map(ner, range(60)), self.store, encoder=self.encoder, progress=False):
            lines = [f"{NAMES[number % 8]} met text {number} in Rome." for number in range(self.texts)]
            (self.folder / "texts.txt").write_text("\n".join(lines) + "\n", "utf-8")

    def command(self) -> list[str]:
        files = ["--file", str(self.folder / "texts.txt"), "--out", str(self.folder / "out.jsonl")]
        return ["extract", *files, "--model", "baseline", *self.options()]

    def check(self, before: int, *, complete: bool) -> int:
        path = self.folder / "out.jsonl"
        lines = path.read_bytes().decode("utf-8").split("\n") if path.exists() else [""]
        rows, broken = [], []
        for number, line in enumerate(lines):
            try:
                rows.append(json.loads(line))
            except ValueError:
                if line:
                    broken.append(f"line {number + 1} of {len(lines)}: {line[:80]!r}")
        # a kill may leave one line incomplete, and the next run appends behind it; the last run takes it away
        allowed = 0 if complete else self.kills
        expect(len(broken) <= allowed, f"{len(broken)} lines are broken after {self.kills} kills: {broken}")
        texts = [row["extraction"]["text"] for row in rows]
        wanted = (self.folder / "texts.txt").read_text("utf-8").splitlines()
        expect(len(set(texts)) == len(texts), f"{len(texts) - len(set(texts))} results are there twice")
        expect(set(texts) <= set(wanted), "results of other texts")
        expect(len(texts) >= before, f"{before} results before, {len(texts)} now")
        expect(not complete or texts == wanted, f"a finished run left {len(texts)} of {len(wanted)}, or in disorder")
        expect(len(stored_rows(self.store, self.encoder, complete=True) or {}) == 60, "the pool changed")
        return len(texts)


class Corpus(Work):
    """A folder of results, one row per document; every fifth document is of several chunks, every fiftieth is empty."""

    texts = 200

    def documents(self) -> list[dict[str, Any]]:
        rows = []
        for number in range(self.texts):
            sentences = 12 if number % 5 == 0 else 1
            text = " ".join(f"{NAMES[number % 8]} met text {number} in Rome." for _ in range(sentences))
            rows.append({"id": f"d{number}", "text": "" if number % 50 == 49 else text})
        return rows

    def prepare(self) -> None:
        with DemonstrationStore.create(map(ner, range(60)), self.store, encoder=self.encoder, progress=False):
            lines = [json.dumps(row) for row in self.documents()]
            (self.folder / "texts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")

    def command(self) -> list[str]:
        files = [str(self.folder / "texts.jsonl"), "--out", str(self.folder / "run"), "--chunk-tokens", "40"]
        return ["extract", *files, "--model", "baseline", *self.options()]

    def check(self, before: int, *, complete: bool) -> int:
        path = self.folder / "run" / "results.jsonl"
        *whole, last = path.read_bytes().split(b"\n") if path.exists() else [b""]
        rows = [json.loads(line) for line in whole]
        expect(not complete or not last, "a finished run left an unfinished row")
        wanted = self.documents()
        got = [{"id": row["id"], "text": row["extraction"]["text"]} for row in rows]
        expect(got == wanted[: len(got)], "the rows are not those of the first documents, once each and in order")
        expect(len(rows) >= before, f"{before} rows before, {len(rows)} now")
        expect(not any("error" in row for row in rows), "a document failed")
        if complete:
            expect(len(rows) == self.texts, f"a finished run left {len(rows)} of {self.texts} rows")
            summary = json.loads((self.folder / "run" / "summary.json").read_text("utf-8"))
            expect(summary["complete"] and summary["documents"] == self.texts, f"the summary says {summary}")
        return len(rows)


class Adapt(Work):
    examples = 160

    def prepare(self) -> None:
        DemonstrationStore.create(map(topic, range(self.examples)), self.store, progress=False).close()

    def options(self) -> list[str]:
        return ["--store", str(self.store)]

    def command(self) -> list[str]:
        return ["adapt", *self.options(), "--steps", "6"]

    def check(self, before: int, *, complete: bool) -> int:
        rows = stored_rows(self.store, None, complete=complete) or {}
        expect(set(rows) == {topic(number).content_id for number in range(self.examples)}, f"it holds {len(rows)} rows")
        kept = self.store / ".ruie" / "encoders"
        names = [path.name for path in kept.iterdir()] if kept.is_dir() else []
        expect(not complete or len(names) == 1, f"a finished run left these encoders: {names}")
        return 0


KINDS: dict[str, type[Work]] = {"index": Index, "extract": Extract, "corpus": Corpus, "sync": Sync, "adapt": Adapt}


@dataclass
class Seen:
    """What the kills of one command saw."""

    kills: int = 0
    """Processes that were killed before they ended."""
    finished: int = 0
    """Runs that ended by themselves and were complete."""
    warnings: Counter[str] = field(default_factory=Counter)
    """What the store said when it was opened afterwards, such as that it rebuilt an index."""
    seconds: float = 0.0

    def line(self, name: str) -> str:
        said = "".join(f"; {count} x {text}" for text, count in self.warnings.most_common())
        return f"{name}: {self.kills} kills, {self.finished} runs to the end, {self.seconds:.0f} s{said}"


def forked(function: Callable[[], int], output: Path) -> int:
    """Start a process that calls a function, writes what it prints to a file, and ends with its status."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = function()
    except BaseException:  # a child must never return into the loop of its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """The exit status of a child, or ``None`` where it still runs after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def in_child(function: Callable[[], Any], folder: Path) -> Any:
    """What a function returns in a process of its own, and what it logged."""
    answer, output = folder / "answer.json", folder / "output.txt"
    answer.unlink(missing_ok=True)

    def run() -> int:
        answer.write_text(json.dumps(function()), "utf-8")
        return 0

    child = forked(run, output)
    status = wait(child, HANGS_AFTER)
    if status is None:
        kill(child)
        raise DamageError(f"hangs: {output.read_text('utf-8')}")
    if status != 0:
        raise DamageError(output.read_text("utf-8"))
    return json.loads(answer.read_text("utf-8"))


def run_command(arguments: list[str]) -> int:
    sys.argv = ["ruie", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def checked(work: Work, before: int, seen: Seen, *, complete: bool) -> int:
    def look() -> tuple[int, list[str]]:
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(str(record.msg))
        logging.getLogger("ruie_components").addHandler(handler)
        return work.check(before, complete=complete), said

    progress, said = in_child(look, work.folder)
    seen.warnings.update(said)
    return int(progress)


def stress(name: str, kills: int, minutes: float, encoder: Path | None, home: Path, draw: random.Random) -> Seen:
    """Kill a command so many times, or for so many minutes if that is less."""
    seen, began = Seen(), time.monotonic()

    def enough() -> bool:
        return seen.kills >= kills or time.monotonic() - began > 60 * minutes

    work: Work | None = None
    before, duration, round_number = 0, 0.0, 0
    while not enough() or work is not None:
        if work is None:
            round_number += 1
            folder = home / f"{name}-{round_number}"
            folder.mkdir()
            work, before = KINDS[name](folder, encoder), NOTHING
            in_child(work.prepare, folder)
        command, started = work.command(), time.monotonic()
        child = forked(lambda command=command: run_command(command), work.folder / "run.txt")
        # the first run of all ends by itself, to learn how long it takes; so do those after the last kill
        wanted = duration == 0 or enough()
        status = wait(child, HANGS_AFTER if wanted else draw.uniform(0, duration))
        if status is None:
            kill(child)
            expect(not wanted, f"{name} hangs: {(work.folder / 'run.txt').read_text('utf-8')}")
            seen.kills += 1
            work.kills += 1
            before = checked(work, before, seen, complete=False)
            continue
        expect(status == 0, f"{name} ended with {status}: {(work.folder / 'run.txt').read_text('utf-8')}")
        if before == NOTHING:
            duration = time.monotonic() - started  # of a whole run
        checked(work, before, seen, complete=True)
        seen.finished += 1
        shutil.rmtree(work.folder)
        work = None
    seen.seconds = time.monotonic() - began
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[*KINDS, []], help="default: all")
    parser.add_argument("--kills", type=int, default=200, help="of each command; default 200")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of each command, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", type=Path, help="of the pools; adapt takes that of the package in any case")
    parser.add_argument("--rows", type=int, default=Work.rows, help=ROWS_HELP)
    arguments = parser.parse_args()
    Work.rows = arguments.rows
    home = Path(tempfile.mkdtemp(prefix="ruie-kills-"))
    for name in arguments.commands or KINDS:
        try:
            draw = random.Random(arguments.seed)
            seen = stress(name, arguments.kills, arguments.minutes, arguments.encoder, home, draw)
        except DamageError as damage:
            sys.stderr.write(f"{name}: {damage}\nWhat was left is in {home}.\n")
            return 1
        sys.stdout.write(seen.line(name) + "\n")
        sys.stdout.flush()
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
