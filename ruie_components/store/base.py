"""The demonstration store: one Chroma collection a pool and task."""

from __future__ import annotations

import logging
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from ruie_components.encoders import Encoder, load_encoder
from ruie_components.errors import StoreError
from ruie_components.progress import track
from ruie_components.store import records, reindexing, search
from ruie_components.store.collections import find_collection, kept_labels, pools, set_labels
from ruie_components.store.connections import Connection, chroma_errors, connect
from ruie_components.store.index_check import IndexCheck, check_all
from ruie_components.store.integrity import forget_damage, mark_damaged
from ruie_components.store.records import Hit
from ruie_components.store.search import EmptyCollectionError, Wanted, nearest
from ruie_components.store.syncing import Plan, SyncResult, by_task, make_plan
from ruie_components.store.writing import Writer, batch_size
from ruie_components.tokenization import text_hash
from ruie_components.types import Demonstration, Example, Query, Task

if TYPE_CHECKING:
    from ruie_components.adaptation import Adaptation, TeacherSource

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,500}")
_LOG = logging.getLogger(__name__)
_PAGE = 1000  # rows that are read in one call
Remembered = TypeVar("Remembered")
Item = TypeVar("Item")


class _DamagedIndexError(StoreError):
    """An index that can't be loaded, and was marked to be rebuilt."""


class DemonstrationStore:
    """Labelled examples in Chroma: one collection a pool and task, named ``POOL.TASK``.

    Make one with ``DemonstrationStore.create`` or ``DemonstrationStore.open``. A row's id is the example's
    ``content_id``; its document is the block shown in prompts; embedded is the passage with keyword tags; its
    metadata holds the example as JSON. Nothing of a store is ever deleted but by ``delete``.

    A folder may be open in many processes as long as none writes; ``add``, ``delete`` and ``create`` need it alone.
    Close a store (it is a context manager) so that others can write.

    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> with DemonstrationStore.create([example], progress=False) as store:
    ...     found = store.search(Query(task="NER", text="Bob slept.", labels=["person"]))
    >>> found[0].example.text
    'Ada slept.'
    """

    def __init__(self, connection: Connection, pool: str, encoder: Encoder, path: str | Path | None) -> None:
        self._connection = connection
        self._collections: dict[Task, Any] = {}
        self._remembered: dict[str, tuple[int, Any]] = {}
        self._closed = False
        self.pool = pool
        self.encoder = encoder
        self.path = path
        self.index_check = IndexCheck(0, 0, 0)
        # a store that is dropped without being closed gives its folder back, but not while the interpreter ends
        self._finalizer = weakref.finalize(self, connection.close)
        self._finalizer.atexit = False

    @classmethod
    def create(
        cls,
        examples: Iterable[Example] = (),
        path: str | Path | None = None,
        pool: str = "default",
        encoder: Any = None,
        client: Any = None,
        progress: bool = True,
    ) -> Self:
        """Build a store, or go on with one: examples that are in it already are neither encoded nor written again.

        Args:
            examples: Of any tasks, mixed.
            path: ``None``: in memory, for this store alone. A folder. ``http://host:port``: a Chroma server.
            pool: The name of the collection of examples; letters, digits, ``.``, ``_`` and ``-``.
            encoder: Anything that ``load_encoder`` takes; by default the one that a folder keeps for this pool since it
                was adapted, else the embedded one.
            client: A Chroma client instead of a path.
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: The place can't be used, is in use by another process, or was built with another encoder.
        """
        store = cls._connect(path, pool, encoder, client, create=True)
        try:
            store.add(examples, progress=progress)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        pool: str = "default",
        encoder: Any = None,
        client: Any = None,
    ) -> Self:
        """Open a store that exists. The arguments are those of ``create``.

        Raises:
            StoreError: There is none, it is broken, another process is writing, or it was built with another encoder.
        """
        if path is None and client is None:
            raise StoreError("a store in memory can't be opened, it is gone with its process: give a path or a client")
        store = cls._connect(path, pool, encoder, client, create=False)
        try:
            if not store.tasks:
                found = pools(store._connection)
                known = f"pools there: {', '.join(found)}" if found else "there are no pools"
                raise StoreError(f"there is no pool {pool!r} in {store._connection.location}; {known}")
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def _connect(cls, path: str | Path | None, pool: str, encoder: Any, client: Any, *, create: bool) -> Self:
        try:
            return cls._connect_once(path, pool, encoder, client, create=create)
        except _DamagedIndexError:  # marked; Chroma has to start anew to open it
            return cls._connect_once(path, pool, encoder, client, create=create)

    @classmethod
    def _connect_once(cls, path: str | Path | None, pool: str, encoder: Any, client: Any, *, create: bool) -> Self:
        if not _POOL.fullmatch(pool) or ".." in pool or not pool[-1].isalnum():
            raise StoreError(
                f"pool name {pool!r} can't be used: take letters, digits, single dots, '_' and '-', with a letter or "
                f"digit at both ends, at most 500"
            )
        loaded = None if encoder is None else load_encoder(encoder)
        connection = connect(path, client, create=create)
        try:
            with chroma_errors(connection.location, "opening"):
                if reindexing.is_unfinished(connection, pool):
                    with connection.writing():
                        reindexing.finish(connection, pool)
                loaded = loaded or load_encoder(reindexing.kept_encoder(connection, pool))
        except BaseException:
            connection.close()
            raise
        store = cls(connection, pool, loaded, path)
        try:
            with chroma_errors(connection.location, "opening"):
                store._find_collections()
                store._heal()
        except BaseException:
            store.close()
            raise
        return store

    def _find_collections(self) -> None:
        found = {task: find_collection(self._connection, self.pool, task, self.encoder) for task in Task}
        self._collections = {task: collection for task, collection in found.items() if collection is not None}

    def close(self) -> None:
        """Let go of the folder or server. A store in memory is gone then."""
        if not self._closed:
            self._closed = True
            self._collections = {}
            self._finalizer()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled.

        Raises:
            TypeError: Always; the message says what to do instead.
        """
        how = f"DemonstrationStore.open({str(self.path)!r}, pool={self.pool!r})" if self.path else "a path or server"
        raise TypeError(
            f"a DemonstrationStore can't be pickled or copied, because it holds an open database: pass its path and "
            f"pool to the other process, and open it there with {how}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        counts = ", ".join(f"{task}: {self.count(task)}" for task in self.tasks) if not self._closed else "closed"
        return f"DemonstrationStore(pool={self.pool!r}, {self._connection.location}, {counts or 'empty'})"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a collection in this pool."""
        self._check_open()
        return tuple(task for task in Task if task in self._collections)

    def add(self, examples: Iterable[Example], *, progress: bool = False) -> int:
        """Add examples; those that are there already change nothing.

        Args:
            examples: Of any tasks, mixed; they may come from a generator, a batch is in memory at a time.
            progress: Show a progress bar if it takes longer than a second.

        Returns:
            How many are new.

        Raises:
            StoreError: Another process has the folder open, or the write failed. What was written stays.
        """
        self._check_open()
        total = len(examples) if isinstance(examples, Sequence) else None
        with self._writing("adding examples") as writer:
            with track("index", total=total, enabled=progress) as advance, writer:
                for example in _checked(examples):
                    writer.put(example)
                    advance(1)
            self._tell(writer.check())
        return writer.new

    def sync(self, examples: Iterable[Example], *, dry_run: bool = False, progress: bool = False) -> SyncResult:
        """Make the pool equal to a list of examples: add, replace and remove rows, in one operation that resumes.

        Rows are added before others are removed, so an interrupted sync loses nothing; call it again to finish. Tasks
        that have no example left are removed, and so are labels that no example's schema has.

        Args:
            examples: All that the pool shall hold, of any tasks, mixed; they are in memory together. An empty list
                removes every row.
            dry_run: Only say what would change.
            progress: Show a progress bar if it takes longer than a second.

        Returns:
            How many rows were added, changed (same ``id``, else same text), removed, and left as they are.

        Raises:
            StoreError: Another process has the folder open, or the write failed.
        """
        self._check_open()
        wanted = by_task(_checked(examples))
        with chroma_errors(self._connection.location, "comparing examples"):
            plans = {
                task: make_plan(self._connection, self._collections.get(task), wanted.get(task, {})) for task in Task
            }
        if not dry_run:
            self._apply(plans, wanted, progress=progress)
        results = [plan.result for plan in plans.values()]
        return SyncResult(
            added=sum(each.added for each in results),
            changed=sum(each.changed for each in results),
            removed=sum(each.removed for each in results),
            unchanged=sum(each.unchanged for each in results),
        )

    def _apply(self, plans: dict[Task, Plan], wanted: dict[Task, dict[str, Example]], *, progress: bool) -> None:
        size = batch_size(self._connection)
        steps = sum(plan.steps for plan in plans.values())
        with (
            self._writing("syncing examples") as writer,
            track("sync", total=steps, enabled=progress) as advance,
        ):
            with writer:
                for example in (example for plan in plans.values() for example in plan.new):
                    writer.put(example)
                    advance(1)
            for task, plan in plans.items():
                collection = self._collections.get(task)
                if collection is None:
                    continue
                for updated in _pages(plan.updated, size):
                    metadatas = [records.metadata(example) for example in updated]
                    collection.update(ids=[example.content_id for example in updated], metadatas=metadatas)
                    advance(len(updated))
                if not wanted.get(task):
                    self._connection.client.delete_collection(collection.name)
                    del self._collections[task]
                    continue
                for stale in _pages(plan.stale, size):
                    collection.delete(ids=stale)
                    advance(len(stale))
                labels = dict.fromkeys(label for example in wanted[task].values() for label in example.labels)
                set_labels(self._connection, collection, labels)
            self._tell(writer.check())

    def delete(self, ids: Iterable[str]) -> int:
        """Delete examples by their ``content_id``; unknown ids are passed over.

        Returns:
            How many were deleted.

        Raises:
            StoreError: Another process has the folder open, or the write failed.
        """
        self._check_open()
        wanted = iter(dict.fromkeys(ids))
        deleted = 0
        with self._writing("deleting examples"):
            while batch := list(islice(wanted, batch_size(self._connection))):
                for collection in self._collections.values():
                    if known := collection.get(ids=batch, include=[])["ids"]:
                        collection.delete(ids=known)
                        deleted += len(known)
        return deleted

    def count(self, task: Task | str | None = None) -> int:
        """How many examples there are, of one task or of all."""
        self._check_open()
        wanted = self.tasks if task is None else (Task(task),)
        with chroma_errors(self._connection.location, "counting"):
            return sum(self._collections[each].count() for each in wanted if each in self._collections)

    def get(self, ids: Iterable[str]) -> list[Example]:
        """The examples with these ids, in this order; unknown ids are passed over."""
        self._check_open()
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Example] = {}
        with chroma_errors(self._connection.location, "reading"):
            for ids in _pages(wanted, _PAGE):
                for task in self.tasks:
                    found |= self._read(self._collections[task].get(ids=ids, include=["metadatas"]))
        return [found[row_id] for row_id in wanted if row_id in found]

    def examples(self, task: Task | str | None = None) -> Iterator[Example]:
        """All examples, of one task or of all; the way to export a pool.

        Which rows there are is read at the start of a task. Rows that are deleted meanwhile are passed over, and no
        others; rows that are added meanwhile are not among them.
        """
        self._check_open()
        for each in self.tasks if task is None else (Task(task),):
            if each in self._collections:
                with chroma_errors(self._connection.location, "reading"):
                    ids = self._collections[each].get(include=[])["ids"]
                for page in _pages(ids, _PAGE):
                    self._check_open()
                    with chroma_errors(self._connection.location, "reading"):
                        rows = self._collections[each].get(ids=page, include=["metadatas"])
                    read = self._read(rows)
                    yield from (read[row_id] for row_id in page if row_id in read)

    def sample(self, task: Task | str, size: int) -> list[Example]:
        """At most ``size`` examples of a task, in runs from all parts of the pool, the same ones each time."""
        collection = self._collection(Task(task))
        with chroma_errors(self._connection.location, "reading"):
            count = collection.count()
            runs = 1 if count <= size else 4
            pages = [
                collection.get(limit=size // runs, offset=run * count // runs, include=["metadatas"])
                for run in range(runs)
            ]
        return [example for page in pages for example in self._read(page).values()]

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """All labels of the schemas of a task's examples, in the order in which they were added.

        Labels of examples that were deleted since stay among them.

        Raises:
            StoreError: The pool has no example of this task.
        """
        task = Task(task)
        return self.remember(f"labels {task}", task, lambda: self._labels(task))

    def _labels(self, task: Task) -> tuple[str, ...]:
        with chroma_errors(self._connection.location, "reading"):
            kept = kept_labels(self._connection, self._collections[task])
        if kept is not None:
            return kept
        return tuple(dict.fromkeys(label for example in self.examples(task) for label in example.labels))

    def ids(self, task: Task | str) -> list[str]:
        """The ids of all examples of a task, sorted.

        Raises:
            StoreError: The pool has no example of this task.
        """
        collection = self._collection(Task(task))
        with chroma_errors(self._connection.location, "reading"):
            return self.remember(f"ids {task}", Task(task), lambda: sorted(collection.get(include=[])["ids"]))

    def has_label(self, task: Task | str, label: str) -> bool:
        """Whether an example of this task has an annotation with this label."""
        collection = self._collection(Task(task))
        where = records.label_filter(label)
        with chroma_errors(self._connection.location, "reading"):
            return self.remember(
                f"has_label {task} {label}",
                Task(task),
                lambda: bool(collection.get(where=where, limit=1, include=[])["ids"]),
            )

    def remember(self, what: str, task: Task, make: Callable[[], Remembered]) -> Remembered:
        """What ``make`` gave for this name, made again when the number of the task's examples has changed.

        Writes through this store object are noticed always; those of others on a server when the count changes.

        Raises:
            StoreError: The pool has no example of this task.
        """
        collection = self._collection(task)
        with chroma_errors(self._connection.location, "counting"):
            count = collection.count()
        if count == 0:
            raise StoreError(self._lacking(task))
        known = self._remembered.get(what)
        if known is None or known[0] != count:
            known = self._remembered[what] = count, make()
        value: Remembered = known[1]
        return value

    def search(self, query: Query, k: int = 8) -> list[Demonstration]:
        """The ``k`` nearest examples of the query's task, best first, without the query's own text.

        Args:
            query: What is asked for.
            k: How many; all there are where the pool holds fewer.

        Raises:
            ValueError: ``k`` is negative.
            StoreError: The pool has no example of this task, or can't be read.
        """
        return self.search_many([query], k)[0]

    def search_many(self, queries: Sequence[Query], k: int = 8) -> list[list[Demonstration]]:
        """``search`` for many queries: encoded and looked up together, several times as fast as one by one."""
        return records.demonstrations(self.nearest(queries, k))

    def nearest(
        self,
        queries: Sequence[Query],
        k: int,
        *,
        vectors: bool = False,
        where: dict[str, Any] | None = None,
        ids: list[str] | None = None,
    ) -> list[list[Hit]]:
        """The rows that ``search`` is made of, for those who choose among them.

        Args:
            queries: Of any tasks, mixed.
            k: How many rows a query.
            vectors: Whether the rows come with their vectors.
            where: A Chroma filter on the rows' metadata; it costs ten times the query.
            ids: Only these rows.

        Raises:
            ValueError: ``k`` is negative.
            StoreError: The pool has no example of a query's task, or can't be read.
        """
        self._check_open()
        if isinstance(queries, (Query, str)) or not all(isinstance(query, Query) for query in queries):
            raise TypeError(
                "search takes a Query, and search_many a list of them: Query(task=..., text=..., labels=[...]), "
                "or the `query` of an Example"
            )
        if k < 0:
            raise ValueError(f"k is {k}: it says how many demonstrations are wanted, so 0 is the least")
        if k == 0:
            return [[] for _ in queries]
        found: list[list[Hit]] = [[] for _ in queries]
        for task in dict.fromkeys(query.task for query in queries):
            places = [place for place, query in enumerate(queries) if query.task is task]
            asked = [queries[place] for place in places]
            encoded = self.encoder.encode_queries(asked)
            own = [text_hash(query.text) for query in asked]
            collection = self._collection(task)
            try:
                with chroma_errors(self._connection.location, "searching"):
                    near = nearest(collection, encoded, own, k, Wanted(vectors=vectors, where=where, ids=ids))
            except EmptyCollectionError as error:
                raise StoreError(self._lacking(task)) from error
            for place, neighbours in zip(places, near, strict=True):
                found[place] = neighbours
        return found

    @property
    def keeps_encoder(self) -> bool:
        """Whether an exported encoder stays with the pool: in a folder, and in memory as long as the store lives."""
        return self._connection.folder is not None or self._connection.in_memory

    def reindex(self, encoder: Any, *, progress: bool = False) -> None:
        """Embed the whole pool again with another encoder.

        A kill at any moment loses nothing: the pool keeps its old encoder until the new vectors are whole. In a folder
        an exported encoder is kept beside the pool, and ``open`` finds it where it is given none; on a server, in
        memory, and of any other kind it has to be given to ``open`` again. On a server nobody else may write meanwhile.

        Args:
            encoder: Anything that ``load_encoder`` takes.
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: Another process has the folder open, or the write failed; the old encoder serves on.
        """
        self._check_open()
        loaded = load_encoder(encoder)
        if loaded.fingerprint == self.encoder.fingerprint:
            return
        with self._writing("embedding the pool again"):
            with track("embed again", total=self.count(), enabled=progress) as advance:
                reindexing.reindex(self._connection, self.pool, loaded, advance=advance)
            self.encoder = loaded
            self._find_collections()
            checks = [check_all(collection) for collection in self._collections.values()]
            self._tell(sum(checks, IndexCheck(0, 0, 0)))

    def adapt(
        self,
        *,
        out: str | Path | None = None,
        teacher: TeacherSource = None,
        measure_only: bool = False,
        start: Any = None,
        steps: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> Adaptation:
        """Train the encoder on this pool, and embed the pool again with it if that gains anything.

        What it gains is measured first, by cross-validation. A pool that was adapted before starts again from the
        encoder that it had at first. Interrupting it leaves the pool as it is; in a folder the next call resumes.

        Args:
            out: A folder for the adapted encoder, to be given to ``open``. A server needs one.
            teacher: ``None``: the encoder learns which examples have the same labels. Scored candidates (LLM
                preferences, rewards), a JSON Lines file of them, or an object with ``score(pairs)``.
            measure_only: Change nothing.
            start: The encoder to start from. Needed where the pool's encoder was adapted from another one than that of
                the package: what a store's file names is not loaded.
            steps: Of a training, instead of the default for this kind of encoder.
            seed: Of all draws.
            progress: Show bars on stderr.

        Returns:
            What was measured, and whether the encoder was replaced.

        Raises:
            AdaptationError: The encoder can't be trained, or the teacher doesn't fit.
            StoreError: The store can't be written; it keeps its encoder.
            ImportError: The encoder is a sentence-transformers checkpoint, and the extra ``[train]`` is not installed.
        """
        from ruie_components.adaptation import adapt

        return adapt(
            self,
            out=out,
            teacher=teacher,
            measure_only=measure_only,
            start=start,
            steps=steps,
            seed=seed,
            progress=progress,
            scratch=folder / ".ruie" / "adapting" / self.pool if (folder := self._connection.folder) else None,
        )

    def _collection(self, task: Task) -> Any:
        self._check_open()
        if task not in self._collections:
            raise StoreError(self._lacking(task))
        return self._collections[task]

    def _lacking(self, task: Task) -> str:
        there = ", ".join(each for each in self.tasks if each is not task) or "none, it is empty"
        return (
            f"pool {self.pool!r} in {self._connection.location} has no {task} examples to show; tasks it has: {there}"
        )

    def _read(self, page: Any) -> dict[str, Example]:
        return {
            row_id: records.from_json(row_id, (metadata or {}).get(records.EXAMPLE), self._connection.location)
            for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True)
        }

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Writer]:
        """A writer, with the folder to this process alone; a mark in the folder tells of a process that is killed."""
        with self._connection.writing(), chroma_errors(self._connection.location, doing):
            mark = self._mark()
            if mark is not None:
                mark.touch()
            try:
                yield Writer(self._connection, self.pool, self.encoder, self._collections)
            finally:
                self._remembered.clear()
                if mark is not None:
                    mark.unlink(missing_ok=True)

    def _mark(self) -> Path | None:
        folder = self._connection.folder
        return folder / ".ruie" / f"writing-{self.pool}" if folder else None

    def _tell(self, check: IndexCheck) -> None:
        self.index_check = check
        if check.unreachable:
            _LOG.warning(
                "%d of %d rows in %s could not be found through the index; %d of them were repaired (recall now %.4f)",
                check.unreachable,
                check.checked,
                self._connection.location,
                check.repaired,
                check.recall,
            )

    def check_index(self, *, progress: bool = False) -> IndexCheck:
        """Look up every row by its own vector, and repair the index where one is not found.

        The index is approximate and may lose rows. ``add``, ``sync`` and ``reindex`` check what they write, and a pool
        whose writer was killed is checked when it is opened; the last result is in ``index_check``.

        Args:
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: Another process has the folder open, or the pool can't be read.
        """
        self._check_open()
        with self._writing("checking the index"), track("check", total=self.count(), enabled=progress) as advance:
            checks = [check_all(collection, advance) for collection in self._collections.values()]
            self._tell(sum(checks, IndexCheck(0, 0, 0)))
        return self.index_check

    def _heal(self) -> None:
        """Rebuild damaged indexes of the pool from its rows, and check the index after a killed write.

        Raises:
            _DamagedIndexError: An index turned out to be damaged when it was loaded; it is marked for the next opening.
        """
        folder = self._connection.folder
        if folder is None:
            return
        names = {name for task in Task for name in (f"{self.pool}.{task}", f"{self.pool}.{task}.next")}
        damaged = self._connection.damaged_indexes()
        problems = {name: problem for name, problem in damaged.items() if name in names}
        if problems:
            with self._connection.writing():
                rebuilt = reindexing.rebuild(self._connection, self.pool, self.encoder, set(problems))
                for name in problems:
                    forget_damage(folder, name)
                    del damaged[name]
                self._find_collections()
            for name, count in rebuilt.items():
                _LOG.warning(
                    "the index of %s in %s was damaged (%s); it was rebuilt from the %d rows, and nothing is lost",
                    *(name, folder, problems[name], count),
                )
        for collection in self._collections.values():
            if (problem := search.index_problem(collection)) is not None:
                with self._connection.writing():
                    mark_damaged(folder, collection.name, problem)
                raise _DamagedIndexError(
                    f"the index of {collection.name} in {folder} is damaged ({problem}); close the other stores of "
                    f"this process that have it open, and open it again: it is rebuilt from its rows"
                )
        mark = self._mark()
        if problems or (mark is not None and mark.exists()):
            try:
                self.check_index()
            except StoreError:
                _LOG.info("the index of %s is not checked while other processes have it open", folder)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
        if (problem := self._connection.problem()) is not None:
            raise StoreError(problem)


def _checked(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples, each of which is one.

    Raises:
        TypeError: Something else was given.
    """
    if isinstance(examples, (str, Path, Example)):
        raise TypeError("a store takes a list of Examples: [example], or read_examples(path) for those of a file")
    return map(_as_example, examples)


def _as_example(value: object) -> Example:
    if not isinstance(value, Example):
        raise TypeError(f"expected an Example, got {type(value).__name__}; use Example.model_validate(row)")
    return value


def _pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
