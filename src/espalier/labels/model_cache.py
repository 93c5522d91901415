"""Answers of a language model, kept on disk under the hash of all they depend on.

No word of a report is kept: the hash binds an answer to its report, so places in it are enough. Beside them stands the hash
of the id of each report, so that a patient's answers are found, and removed, when the patient withdraws.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from espalier.errors import InputError, ResourceError, VersionError
from espalier.labels.answers import Answer
from espalier.outputs import PRIVATE, UNWRITABLE, hash_of

CACHE: Final = Path("records") / "language_model.sqlite"
_KIND: Final = 0x45535041
_VERSION: Final = 2
_TABLES: Final = (
    "answer (key TEXT PRIMARY KEY, state TEXT, start INT, end INT)",
    "report (id TEXT, text TEXT, PRIMARY KEY (id, text))",
)
_BATCH: Final = 500
_BUSY_S: Final = 30.0
_HALF: Final = 32
"""Letters of a key that stand for the report's text; those behind them stand for what was asked."""


def text_key(report: str) -> str:
    """Return what stands for a report's text in the keys of its answers."""
    return hash_of(report)[:_HALF]


def answer_key(text: str, about: str) -> str:
    """Return the key of an answer: `text_key` of its report, and the hash of what was asked, how and whom."""
    return text + about[:_HALF]


class ModelCache:
    """Kept answers; each is on disk when `put` returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Return the answers that are kept, by key."""
        wanted, out = list(keys), {}
        for first in range(0, len(wanted), _BATCH):
            some = wanted[first : first + _BATCH]
            places = ",".join("?" * len(some))
            rows = self._connection.execute(f"SELECT key, state, start, end FROM answer WHERE key IN ({places})", some)  # noqa: S608
            out.update({key: Answer(str(state), int(start), int(end)) for key, state, start, end in rows})
        return out

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Keep answers, by key."""
        rows = [(key, one.state, one.start, one.end) for key, one in answers.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", rows)

    def note(self, reports: Iterable[tuple[str, str]]) -> None:
        """Keep whose texts they are that will be asked about: pairs of a report's id and its `text_key`."""
        rows = [(_hidden(report), text) for report, text in reports]
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO report VALUES (?, ?)", rows)

    def forget(self, reports: Iterable[str]) -> bool:
        """Remove reports with their answers, and answers of which nobody knows whose they are; tell whether there were any.

        Answers about a text that another report has word for word stay: they are that one's too.
        """
        before = self._connection.total_changes
        with self._connection:
            self._connection.executemany("DELETE FROM report WHERE id = ?", [(_hidden(report),) for report in reports])
            self._connection.execute("DELETE FROM answer WHERE substr(key, 1, ?) NOT IN (SELECT text FROM report)", (_HALF,))
        return self._connection.total_changes > before


def forget_answers(folder: Path, reports: Collection[str]) -> list[Path]:
    """Remove what a model answered about reports, by their ids as in `labels.parquet`; return the file if it changed.

    Raises
    ------
    InputError, VersionError, ResourceError
        As `open_cache`.
    """
    path = folder / CACHE
    if not path.is_file():
        return []
    with open_cache(folder) as cache:
        return [path] if cache.forget(reports) else []


def _hidden(report: str) -> str:
    return hash_of("report", report)


@contextmanager
def open_cache(folder: Path) -> Iterator[ModelCache]:
    """Open the answers kept in a study's folder, for its owner only.

    Raises
    ------
    InputError
        Where the file is something else, or was damaged.
    VersionError
        Where a newer Espalier wrote it.
    ResourceError
        Where it cannot be written, or another process holds it.
    """
    path = folder / CACHE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Made before SQLite opens it, so that its journal too is for the owner only.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE))
        path.chmod(PRIVATE)
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            _prepare(connection, path)
            yield ModelCache(connection)
    except (sqlite3.OperationalError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in UNWRITABLE:
            raise
        do = "Free the disk, or wait for the other run; then run the same command again."
        raise ResourceError(path, found="cannot be written", do=do) from error
    except sqlite3.DatabaseError as error:
        raise _foreign(path) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    kind, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if kind == _KIND and version > _VERSION:
        found = f"version {version} of the kept answers"
        raise VersionError(path, found=found, expected=f"at most {_VERSION}", do="Install the newer Espalier that wrote it.")
    if kind not in {0, _KIND} or (kind == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone()):
        raise _foreign(path)
    # What is deleted is gone from the file, not only from the table.
    connection.execute("PRAGMA secure_delete = ON")
    with connection:
        if kind == _KIND and version < _VERSION:
            # Of these answers nobody knows whose they are.
            connection.execute("DROP TABLE IF EXISTS answer")
        for table in _TABLES:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} WITHOUT ROWID")
        connection.execute(f"PRAGMA application_id = {_KIND}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")


def _foreign(path: Path) -> InputError:
    do = "Delete the file; what it held is asked again."
    return InputError(path, found="is no file of kept answers, or is damaged", do=do)
