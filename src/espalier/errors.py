"""Every error a user can meet, one class per thing they can do about it.

::

    EspalierError                 exit 1: something failed; the message says what to do
    ├── UseError                  exit 2: change the command line
    │   └── SettingsError         exit 2: change the study file, or whatever settings file is named
    ├── InputError                exit 1: mend the table, folder or file that is named
    ├── ScanError                 the scan is set aside with its reason; the rest goes on
    ├── MissingError              exit 1: run an earlier stage first, or install what is named
    ├── AlteredError              exit 1: bytes differ from their recorded hash; fetch or make them again
    ├── VersionError              exit 1: written by a newer Espalier; install that one
    └── ResourceError             exit 1: disk, memory or a lock; free it and run the same command again
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
DONE_WITH_SET_ASIDE: Final = 3


class EspalierError(Exception):
    """Anything Espalier refuses, in a sentence for its user.

    Parameters
    ----------
    source
        The file, folder, row or setting that is wrong, as the user would recognise it.
    found
        What was there.
    expected
        What should have been there.
    do
        The user's next step, as an imperative sentence.
    """

    exit_code: ClassVar[int] = FAILED

    def __init__(self, source: str | Path, *, found: str, expected: str = "", do: str = "") -> None:
        self.source = str(source)
        self.found = found
        self.expected = expected
        self.do = do
        super().__init__(source, found, expected, do)

    def __str__(self) -> str:
        """Say file, found, expected and what to do, in this order."""
        expected = f"; expected {self.expected}" if self.expected else ""
        do = f" {self.do}" if self.do else ""
        return f"{self.source}: {self.found}{expected}.{do}"


class UseError(EspalierError):
    """The command cannot be carried out as it was given."""

    exit_code = WRONG_USE


class SettingsError(UseError):
    """A settings file says something that no stage can follow."""


class InputError(EspalierError):
    """A table, folder or file that a stage needs as a whole cannot be used."""


class MissingError(EspalierError):
    """An earlier stage's output, or an optional package, is not there."""


class AlteredError(EspalierError):
    """A file's bytes differ from the hash recorded when it was made."""


class VersionError(EspalierError):
    """A file was written by a newer version of Espalier."""


class ResourceError(EspalierError):
    """Disk, memory or a lock stands in the way; nothing is wrong with the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why one scan was set aside: a stable code for programs and words for people."""

    code: str
    found: str
    expected: str
    do: str


class ScanError(EspalierError):
    """One scan cannot be used; `code` is stable and listed in the reference of reason codes."""

    def __init__(self, source: str | Path, *, code: str, found: str, expected: str = "", do: str = "") -> None:
        super().__init__(source, found=found, expected=expected, do=do)
        self.code = code

    @property
    def reason(self) -> Reason:
        """The reason as it stands in `set_aside.csv`."""
        return Reason(code=self.code, found=self.found, expected=self.expected, do=self.do)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep `code` when the error crosses a process boundary."""
        return (_scan_error, (self.source, self.code, self.found, self.expected, self.do))


def _scan_error(source: str, code: str, found: str, expected: str, do: str) -> ScanError:
    return ScanError(source, code=code, found=found, expected=expected, do=do)
