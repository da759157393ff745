"""Feeds damaged files to the reader of every annotation format, and checks what each makes of them.

    python tests/stress/fuzz.py --seconds 120
    python tests/stress/fuzz.py --seconds 20 --seed 7 brat conll

The files are real ones of ``raw`` in the data folder (``RUIE_DATA``, else ``../shared/data``) where it exists, and the
starter pool written in each format. Bytes are changed, pieces are cut, repeated, swapped, and taken from other files;
DocBin is damaged below its compression as well. Each format has a process of its own.

A reader may skip rows and report them with their file. It must not raise anything but a ``RowError`` that names the
file, read one file for more than ten seconds, take more than 400 MB, give a span that does not match its text, or run
code, start a process, open a connection or unpickle. Files that break a rule are kept, and their folder is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ruie_components import Example, RowError, Task
from ruie_components.formats import Import, export, formats, guess_format
from ruie_components.formats.texts import read_texts
from ruie_components.starter import starter_examples

ROOT = Path(__file__).resolve().parents[2]
RAW = Path(os.environ.get("RUIE_DATA", ROOT.parent / "shared" / "data")) / "raw"
HANGS_AFTER = 10  # seconds of one file
MOST_MEMORY = 400  # MB above what the undamaged files take
LARGEST = 20_000  # bytes of a damaged file, so that many can be tried
NAMES = {
    "brat": "folder", "conll": "a.conll", "docbin": "a.spacy", "ie-instructions": "a.json", "label-studio": "a.json",
}  # fmt: skip
TEXTS = "texts"  # the reader of texts without annotations: JSON Lines, CSV, plain text
FORBIDDEN = frozenset({
    "exec", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class", "socket.connect",
    "subprocess.Popen",
})  # fmt: skip
PIECES = [
    b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b"\n", b"\t", b" ", b"{", b"}", b"[",
    b"[" * 3000, b"]", b'"', b"\\", b",", b":", b";", b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"null", b"true",
    b"NaN", b"{}", b"[]", b'"\\ud800"', b"\\u0000", b"T1", b"E1:E1", b"R1", b"#1", b"*", b"\xf0\x9f\x98\x80",
    b"\xe2\x80\xa8", b"\xc2\xa0", b"O", b"I-", b"B-person", b"-DOCSTART-", b"__import__('os').system('true')",
    b"!!python/object/apply:os.system [true]",
]  # fmt: skip


class BrokenRuleError(Exception):
    """A rule was broken."""


def sources(name: str, folder: Path) -> list[Path]:
    """Undamaged files or folders of a format: the starter pool, and real ones."""
    own = folder / "own" / NAMES.get(name, "a.jsonl")
    by_task = {task: starter_examples(task)[:2] for task in Task}
    paths = [own]
    if name == TEXTS:
        own.parent.mkdir(parents=True)
        texts = [example.text for example in by_task[Task.NER]]
        own.with_suffix(".txt").write_text("\n".join(texts))
        own.with_suffix(".csv").write_text("id,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts)))
        export(own, by_task[Task.NER], "jsonl")
        return [own, own.with_suffix(".txt"), own.with_suffix(".csv")]
    export(own, [example for examples in by_task.values() for example in examples], name)
    if RAW.is_dir():
        files = (path for path in sorted(RAW.rglob("*")) if path.is_file() and path.suffix != ".a2")
        paths += [path for path in files if name == ("brat" if path.suffix == ".a1" else _format_of(path))]
    return paths


def _format_of(path: Path) -> str:
    try:
        return guess_format(path).name
    except RowError:
        return ""


def content_of(path: Path) -> dict[str, bytes]:
    """The files of an annotation file or folder, by name, and of large ones the beginning."""
    if path.is_dir():
        return {each.name: each.read_bytes()[:LARGEST] for each in sorted(path.iterdir()) if each.is_file()}
    if path.suffix == ".a1":  # of the BioNLP shared tasks: a text, its proteins, and its events
        return {each.name: each.read_bytes()[:LARGEST] for each in sorted(path.parent.glob(f"{path.stem}.*"))}
    return {path.name: path.read_bytes()[:LARGEST]}


def damaged(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """The content with one to six changes."""
    compressed = content[:2] in (b"x\x9c", b"x\xda", b"x\x01") and draw.random() < 0.8
    if compressed:
        content = zlib.decompressobj().decompress(content, 10 * LARGEST)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        at = draw.randrange(len(content) + 1)
        end = min(len(content), at + draw.choice((0, 1, 1, 2, 5, 20, 200, 5000)))
        change = draw.randrange(8)
        if change <= 2:
            content = content[:at] + draw.choice(PIECES) + content[end:]
        elif change == 3:
            content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        elif change == 4:
            content = content[:at] + content[at:end] * draw.choice((0, 2, 3, 50)) + content[end:]
        elif change == 5 and other:
            start = draw.randrange(len(other))
            content = content[:at] + other[start : start + draw.choice((10, 200, 2000))] + content[end:]
        elif change == 6:
            lines = content.split(b"\n")
            one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            content = b"\n".join(lines)
        else:
            content = content[:at] if draw.random() < 0.3 else content.replace(b"\n", b"\r\n")
    return zlib.compress(content, 1) if compressed else content


def write(files: dict[str, bytes], folder: Path, *, is_folder: bool) -> Path:
    """Write the files, and give what a reader is to read."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder if is_folder else folder / next(iter(files))


def check(path: Path, name: str, draw: random.Random) -> str:
    """Read a file, and give how it ended: whole, skipped or refused.

    Raises:
        BrokenRuleError: A rule was broken.
    """
    if name == TEXTS:
        try:
            for _ in read_texts(path):
                pass
        except RowError as error:
            _check_message(str(error), path)
            return "refused"
        return "whole"
    strict = draw.random() < 0.3
    chosen = None if draw.random() < 0.1 else name
    try:
        files = Import([path], format=chosen, strict=strict)
        for example in files:
            _check_example(example)
    except RowError as error:
        if not strict and chosen is not None:
            raise BrokenRuleError(f"a problem ended the reading: {error}") from error
        _check_message(str(error), path)
        return "refused"
    for problem in files.report.problems:
        _check_message(problem, path)
    return "skipped" if files.report.skipped else "whole"


def _check_message(message: str, path: Path) -> None:
    if str(path) not in message:
        raise BrokenRuleError(f"a problem does not name its file: {message}")


def _check_example(example: Example) -> None:
    for span in example.spans:
        if example.text[span.start : span.end] != span.text:
            raise BrokenRuleError(f"a span does not match its text: {span!r}")


def _out_of_time(_signal: int, _frame: FrameType | None) -> None:
    raise BrokenRuleError(f"still reading after {HANGS_AFTER} seconds")


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(name: str, seconds: float, seed: int, kept: Path) -> tuple[Counter[str], list[str]]:
    """Damage files of a format for so many seconds; gives how many ended how, and what was broken."""
    draw = random.Random(f"{seed}-{name}")
    ended: Counter[str] = Counter()
    broken: list[str] = []
    before = signal.signal(signal.SIGALRM, _out_of_time)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        originals = sources(name, folder)
        contents = [content_of(path) for path in originals]
        for path in originals:
            check(path if path.suffix != ".a1" else path.parent, name, draw)  # imports what is imported on demand
        memory = _memory()
        watch = _Watch()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            files = dict(draw.choice(contents))
            which = draw.choice(list(files))
            files[which] = damaged(files[which], draw.choice(list(draw.choice(contents).values())), draw)
            case = folder / f"case-{ended.total()}"
            path = write(files, case, is_folder=name == "brat")
            signal.alarm(HANGS_AFTER)
            problem = ""
            try:
                with watch:
                    ended[check(path, name, draw)] += 1
                if _memory() > memory + MOST_MEMORY:
                    memory, problem = _memory(), f"took {_memory():,.0f} MB, after {memory:,.0f} MB"
            except Exception:
                problem = traceback.format_exc()
                ended["broken"] += 1
            finally:
                signal.alarm(0)
            if problem:
                target = kept / f"{name}-{len(broken)}"
                write(files, target, is_folder=True)
                broken.append(f"{target}: {problem}")
            shutil.rmtree(case)
    signal.signal(signal.SIGALRM, before)
    return ended, broken


class _Watch:
    """A block in which forbidden events raise ``BrokenRuleError``; modules may be imported."""

    def __init__(self) -> None:
        self._active = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._active or event not in FORBIDDEN:
            return
        if event == "exec" and Path(arguments[0].co_filename).is_file():
            return
        raise BrokenRuleError(f"the event {event} while reading")

    def __enter__(self) -> None:
        self._active = True

    def __exit__(self, *_: object) -> None:
        self._active = False


def main(names: Sequence[str], seconds: float, seed: int) -> int:
    """Fuzz formats one after another; gives the exit status."""
    kept = Path(tempfile.mkdtemp(prefix="ruie-fuzz-"))
    failed = False
    print("format           files      whole    skipped    refused     broken", flush=True)
    context = multiprocessing.get_context("spawn")
    for name in names:
        with context.Pool(1) as pool:
            run: Callable[[], tuple[Counter[str], list[str]]] = pool.apply_async(fuzz, (name, seconds, seed, kept)).get
            try:
                ended, broken = run()
            except RowError as error:
                print(f"{name:12} left out: {error}", flush=True)
                continue
        figures = "".join(f"{ended[way]:11,}" for way in ("whole", "skipped", "refused", "broken"))
        print(f"{name:16}{ended.total():6,}{figures}", flush=True)
        for problem in broken[:3]:
            print(problem, flush=True)
        failed |= bool(broken)
    if failed:
        print(f"files that broke a rule are in {kept}")
    else:
        kept.rmdir()
    return int(failed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", help="names of formats; default: all")
    parser.add_argument("--seconds", type=float, default=120, help="for each format")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    every = [*formats(), TEXTS]
    if unknown := set(arguments.formats) - set(every):
        parser.error(f"unknown formats: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    raise SystemExit(main(arguments.formats or every, arguments.seconds, arguments.seed))
