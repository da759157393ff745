"""The demonstration store: one Chroma collection for each pool and task."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ruie_components.encoders import Encoder, load_encoder
from ruie_components.errors import StoreError
from ruie_components.progress import track
from ruie_components.selection import DEFAULT_K, Selector
from ruie_components.store import reading, reindexing
from ruie_components.store.candidates import StoreSource
from ruie_components.store.collections import kept_descriptions, pools, set_descriptions
from ruie_components.store.connections import chroma_errors
from ruie_components.store.healing import check_embedded_again, check_index, check_new_rows
from ruie_components.store.index_check import IndexCheck
from ruie_components.store.open_pool import OpenPool
from ruie_components.store.opening import open_pool
from ruie_components.store.records import Hit
from ruie_components.store.state import row_state
from ruie_components.store.syncing import SyncResult, apply_plans, group_by_task, make_plans
from ruie_components.store.tuned import TunedSettings, set_tuned_settings, tuned_settings
from ruie_components.store.writing import batch_size, writing
from ruie_components.types import Demonstration, Example, Query, Task

if TYPE_CHECKING:  # scipy, which adaptation needs, is slow to import
    from pydantic import BaseModel

    from ruie_components.adaptation import Adaptation, TeacherSource


class DemonstrationStore:
    """Labelled examples in Chroma, with one collection per pool and task, named ``POOL.TASK``.

    Make one with ``DemonstrationStore.create`` or ``DemonstrationStore.open``. A row's id is the example's
    ``content_id``; its document is the block shown in prompts; its vector is that of the passage with keyword tags; its
    metadata holds the example as JSON. Only ``delete`` and ``sync`` delete rows.

    Many processes may have a folder open as long as none writes; ``add``, ``delete`` and ``create`` need exclusive
    access. Close a store (it is a context manager) so that others can write.

    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> with DemonstrationStore.create([example], progress=False) as store:
    ...     demonstrations = store.search(Query(task="NER", text="Bob slept.", labels=["person"]))
    >>> demonstrations[0].example.text
    'Ada slept.'
    """

    def __init__(self, pool: OpenPool, path: str | Path | None) -> None:
        self._pool = pool
        self.path = path
        # a pool without references releases its folder, but not at interpreter exit. The pool, not the store:
        # generators and candidates outlive the store
        self._finalizer = weakref.finalize(pool, pool.connection.close)
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
        """Create a store, or add to an existing one; examples that it has are neither encoded nor written again.

        Args:
            examples: Of any tasks, mixed.
            path: ``None``: in memory, private to this store. A folder. ``http://host:port``: a Chroma server.
            pool: The name of the collection of examples; letters, digits, ``.``, ``_`` and ``-``.
            encoder: Anything that ``load_encoder`` takes; by default the adapted one that a folder stores for this
                pool, else the embedded one.
            client: A Chroma client instead of a path.
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: The location can't be used, is in use by another process, or was built with another encoder.
        """
        store = cls(open_pool(path, pool, encoder, client, create=True), path)
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
        """Open an existing store. The arguments are those of ``create``.

        Raises:
            StoreError: There is no store, it is damaged, another process is writing, or it has another encoder.
        """
        if path is None and client is None:
            raise StoreError("a store in memory ends with its process and can't be opened: give a path or a client")
        store = cls(open_pool(path, pool, encoder, client, create=False), path)
        try:
            if not store._pool.tasks:
                connection = store._pool.connection
                known = ", ".join(pools(connection)) or "none"
                raise StoreError(f"there is no pool {pool!r} in {connection.location}; it has: {known}")
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Release the folder or server. A store in memory loses its rows."""
        if not self._pool.closed:
            self._pool.close()
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
        counts = "closed" if self._pool.closed else ", ".join(f"{task}: {self.count(task)}" for task in self.tasks)
        return f"DemonstrationStore(pool={self.pool!r}, {self._pool.connection.location}, {counts or 'empty'})"

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._pool.name

    @property
    def pools(self) -> list[str]:
        """The names of all pools in the same folder or on the same server, sorted."""
        self._pool.check_open()
        with chroma_errors(self._pool.connection.location, "reading"):
            return pools(self._pool.connection)

    @property
    def encoder(self) -> Encoder:
        """The encoder of queries and rows."""
        return self._pool.encoder

    @property
    def index_check(self) -> IndexCheck:
        """The result of the last check of the index; see ``check_index``."""
        return self._pool.index_check

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the pool's examples; a task whose examples were all deleted is not among them."""
        return tuple(task for task in self._pool.tasks if self._pool.has_rows(task))

    def add(self, examples: Iterable[Example], *, progress: bool = False) -> int:
        """Add examples; those that the pool already has are skipped.

        Args:
            examples: Of any tasks, mixed. A generator is read batch by batch.
            progress: Show a progress bar if it takes longer than a second.

        Returns:
            How many are new.

        Raises:
            StoreError: Another process has the folder open, or the write failed. What was written stays.
        """
        self._pool.check_open()
        total = len(examples) if isinstance(examples, Sequence) else None
        with writing(self._pool, "adding examples") as writer:
            with track("index", total=total, enabled=progress) as advance, writer:
                for example in _checked(examples):
                    writer.put(example)
                    advance(1)
            check_new_rows(self._pool, writer.written)
        return writer.new

    def sync(self, examples: Iterable[Example], *, dry_run: bool = False, progress: bool = False) -> SyncResult:
        """Make the pool equal to a list of examples: add, replace and remove rows, in one operation that resumes.

        Rows are added before others are removed, so an interrupted sync loses nothing; call it again to finish. Tasks
        without examples are removed, and so are labels that no schema has.

        Args:
            examples: All examples that the pool is to hold, of any tasks, mixed; all are in memory together. An empty
                list removes every row.
            dry_run: Return what would change, and change nothing.
            progress: Show a progress bar if it takes longer than a second.

        Returns:
            How many rows were added, changed (same ``id``, else same text), removed, and left as they are.

        Raises:
            StoreError: Another process has the folder open, or the write failed.
        """
        pool = self._pool
        pool.check_open()
        targets = group_by_task(_checked(examples))
        if dry_run:
            plans = make_plans(pool, targets)
        else:
            with writing(pool, "syncing examples") as writer:  # while planning, too: others may write in between
                plans = make_plans(pool, targets)
                steps = sum(plan.steps for plan in plans.values())
                with track("sync", total=steps, enabled=progress) as advance:
                    apply_plans(pool, writer, plans, targets, advance)
                check_new_rows(pool, writer.written)
        return sum((plan.result for plan in plans.values()), SyncResult())

    def delete(self, ids: Iterable[str]) -> int:
        """Delete examples by their ``content_id``; unknown ids are skipped.

        Returns:
            How many were deleted.

        Raises:
            StoreError: Another process has the folder open, or the write failed.
        """
        pool = self._pool
        pool.check_open()
        unique = iter(dict.fromkeys(ids))
        deleted = 0
        with writing(pool, "deleting examples") as writer:
            while batch := list(islice(unique, batch_size(pool.connection))):
                for collection in pool.collections.values():
                    if known := collection.get(ids=batch, include=[])["ids"]:
                        writer.begin()
                        collection.delete(ids=known)
                        deleted += len(known)
        return deleted

    def count(self, task: Task | str | None = None) -> int:
        """How many examples there are, of one task or of all."""
        return reading.count(self._pool, self._pool.tasks if task is None else [Task(task)])

    def row_state(self, task: Task | str) -> tuple[int, str]:
        """How many examples a task has, and a digest that differs where any was added, deleted or replaced.

        Raises:
            StoreError: The pool can't be read.
        """
        self._pool.check_open()
        return row_state(self._pool, Task(task))

    def get(self, ids: Iterable[str]) -> list[Example]:
        """The examples with these ids, in this order; unknown ids are skipped."""
        return reading.get(self._pool, ids)

    def examples(self, task: Task | str | None = None) -> Iterator[Example]:
        """All examples, of one task or of all; the way to export a pool.

        The list of rows is read at the start of a task: rows deleted meanwhile are skipped, and rows added meanwhile
        are left out.
        """
        return reading.examples(self._pool, self._pool.tasks if task is None else [Task(task)])

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """All labels of the schemas of a task's examples, in the order in which they were added.

        Labels of examples that were deleted since are still included.

        Raises:
            StoreError: The pool has no example of this task.
        """
        return reading.labels(self._pool, Task(task))

    def tuned(self, task: Task | str | None = None) -> TunedSettings | None:
        """The settings that ``ruie tune`` chose for a task; ``None`` if it was not tuned.

        Embedding the pool with another encoder (``adapt``, ``reindex``) forgets them.

        Args:
            task: The task; the pool's only one if not given.

        Raises:
            StoreError: The kept settings can't be read.
        """
        tasks = self.tasks if task is None else (Task(task),)
        return tuned_settings(self._pool, tasks[0]) if len(tasks) == 1 else None

    def set_tuned(self, task: Task | str, settings: TunedSettings | None) -> None:
        """Keep settings as the defaults of retrievers and extractors; ``None`` removes them.

        Raises:
            StoreError: There is no such task, another process has the folder open, or the write failed.
        """
        self._pool.collection(Task(task))
        with writing(self._pool, "keeping tuned settings"):
            set_tuned_settings(self._pool, Task(task), settings)

    def describe_labels(self, descriptions: Mapping[str, str] | type[BaseModel]) -> None:
        """Add descriptions of labels to the pool; an empty description removes one.

        Descriptions hold for all tasks of the pool. ``Extractor(..., descriptions=True)`` shows them in prompts.

        Args:
            descriptions: By label; or a pydantic model, whose fields are labels with a ``description``.

        Raises:
            StoreError: The pool has no example yet, another process has the folder open, or the write failed.
        """
        pool = self._pool
        pool.check_open()
        if not isinstance(descriptions, Mapping):
            fields = descriptions.model_fields
            descriptions = {field.alias or name: field.description or "" for name, field in fields.items()}
        if not pool.collections:
            raise StoreError(f"pool {pool.name!r} has no examples yet: add examples, then describe their labels")
        with writing(pool, "describing labels"):
            for collection in pool.collections.values():
                both = {**kept_descriptions(pool.connection, collection), **descriptions}
                set_descriptions(pool.connection, collection, {key: text for key, text in both.items() if text.strip()})

    def label_descriptions(self) -> dict[str, str]:
        """The descriptions of labels that ``describe_labels`` added."""
        pool = self._pool
        pool.check_open()
        with chroma_errors(pool.connection.location, "reading"):
            kept = [kept_descriptions(pool.connection, each) for each in pool.collections.values()]
        return {label: text for each in kept for label, text in each.items()}

    def search(self, query: Query, k: int = DEFAULT_K) -> list[Demonstration]:
        """The ``k`` examples that ``Selector("similarity")`` chooses: the most similar of the query's task, best first.

        The query's own text is never among them. Examples of another event type or schema come last; see ``Selector``.

        Args:
            query: The query.
            k: How many; all examples if the pool holds fewer.

        Raises:
            ValueError: ``k`` is negative.
            StoreError: The pool has no example of this task, or can't be read.
        """
        return self.search_many([query], k)[0]

    def search_many(self, queries: Sequence[Query], k: int = DEFAULT_K) -> list[list[Demonstration]]:
        """``search`` for many queries, which are encoded and searched together: several times as fast as one by one."""
        return Selector("similarity", k=k).select_many(self, queries)

    def nearest(self, queries: Sequence[Query], k: int, *, vectors: bool = False) -> list[list[Hit]]:
        """The nearest rows by their vectors, of any schema; hits have their vectors if ``vectors`` is set."""
        return self.candidates(queries).nearest(range(len(queries)), k, vectors=vectors)

    def long_text(self, task: Task) -> str:
        """A text that nine of ten texts of a task are not longer than.

        Raises:
            StoreError: The pool has no example of this task, or can't be read.
        """
        self._pool.check_open()
        return reading.long_text(self._pool, task)

    def candidates(self, queries: Sequence[Query]) -> StoreSource:
        """The pool as the source of candidates for queries, which a ``Selector`` chooses from.

        Args:
            queries: The queries, of any tasks, mixed.

        Raises:
            TypeError: ``queries`` is not a list of queries.
            StoreError: The store is closed.
        """
        self._pool.check_open()
        return StoreSource(self._pool, queries)

    @property
    def keeps_encoder(self) -> bool:
        """Whether the pool keeps an exported encoder: in a folder, and in memory for the life of the store."""
        connection = self._pool.connection
        return connection.folder is not None or connection.in_memory

    def reindex(self, encoder: Any, *, progress: bool = False) -> None:
        """Embed the whole pool again with another encoder.

        An interruption loses nothing: the pool keeps its old encoder until all new vectors are written. A folder stores
        an exported encoder beside the pool, and ``open`` loads it by default. On a server, in memory, and for any other
        kind of encoder, pass the encoder to ``open``. On a server, no other process may write meanwhile.

        Args:
            encoder: Anything that ``load_encoder`` takes.
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: Another process has the folder open, or the write failed; the pool keeps its old encoder.
        """
        pool = self._pool
        pool.check_open()
        loaded = load_encoder(encoder)
        if loaded.fingerprint == pool.encoder.fingerprint:
            return
        with writing(pool, "embedding the pool again") as writer:
            writer.begin()
            resumed = reindexing.has_copies(pool.connection, pool.name)
            with track("embed again", total=self.count(), enabled=progress) as advance:
                reindexing.reindex(pool.connection, pool.name, loaded, advance=advance)
            pool.load_collections(loaded)
            check_embedded_again(pool, resumed=resumed)

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

        The gain is measured first, by cross-validation. A pool that was adapted before starts again
        from its first encoder. Interrupting it leaves the pool as it is; in a folder the next call resumes.

        Args:
            out: A folder for the adapted encoder, to pass to ``open``. A server needs one.
            teacher: ``None``: the encoder learns which examples have the same labels. Scored candidates (LLM
                preferences, rewards), a JSON Lines file of them, or an object with ``score(pairs)``.
            measure_only: Change nothing.
            start: The encoder to start from. Needed if the pool's encoder was adapted from another one than the
                package's: an encoder that a store's file names is not loaded.
            steps: Steps of one training. Default: by the kind of encoder.
            seed: Of all random draws.
            progress: Show bars on stderr.

        Returns:
            The measured gains, and whether the encoder was replaced.

        Raises:
            AdaptationError: The encoder can't be trained, or the teacher doesn't fit.
            StoreError: The store can't be written; it keeps its encoder.
            ImportError: The encoder is a sentence-transformers checkpoint, and the extra ``[train]`` is not installed.
        """
        from ruie_components.adaptation import adapt

        folder = self._pool.connection.folder
        return adapt(
            self,
            out=out,
            teacher=teacher,
            measure_only=measure_only,
            start=start,
            steps=steps,
            seed=seed,
            progress=progress,
            scratch=folder / ".ruie" / "adapting" / self.pool if folder else None,
        )

    def check_index(self, *, progress: bool = False) -> IndexCheck:
        """Look up every row by its own vector, and repair the index for rows that are not found.

        The index is approximate and may lose rows. ``add``, ``sync`` and ``reindex`` look up a sample of what they
        write, and a pool whose writer was killed is checked when it is opened; the last result is in ``index_check``. A
        pool of up to 10,000 rows of a task, in a folder or in memory, is searched without the index, which is checked
        here nevertheless: a pool that grows uses it, and so does a server of the folder.

        Args:
            progress: Show a progress bar if it takes longer than a second.

        Raises:
            StoreError: Another process has the folder open, or the pool can't be read.
        """
        self._pool.check_open()
        with track("check", total=self.count(), enabled=progress) as advance:
            check_index(self._pool, advance)
        return self.index_check


def _checked(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples, after a check of their type.

    Raises:
        TypeError: A value is not an Example.
    """
    if isinstance(examples, (str, Path, Example)):
        raise TypeError("a store takes a list of Examples: [example], or read_examples(path) for a file")
    return map(_as_example, examples)


def _as_example(value: object) -> Example:
    if not isinstance(value, Example):
        raise TypeError(f"expected an Example, got {type(value).__name__}; use Example.model_validate(row)")
    return value
