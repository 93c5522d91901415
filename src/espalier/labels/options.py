"""What can be set about labels."""

from dataclasses import dataclass
from typing import Literal

from espalier.cohort.cells import MISSING
from espalier.cohort.encodings import check_encoding

Uncertain = Literal["ones", "zeros", "ignore", "soft"]
NotMentioned = Literal["zeros", "ignore"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelOptions:
    """Where labels come from and how states become targets.

    Parameters
    ----------
    reports
        A CSV with one report per row, relative to the study's folder.
    id_column, text_column
        Its columns with the id (accession number, study UID, patient or file name) and with the text.
    lexicon
        A shipped lexicon (`ct-rate`, `ratic`) or the path of a TOML file of your own.
    table
        Instead of `reports`: a CSV with `id_column` and one column of 0 and 1 per finding.
    encoding
        The encoding of these tables, as `cp1254`; found when absent.
    link
        A CSV that says whose the ids of the reports are: a column with those ids (named as `id_column`, or else the one
        that is none of the cohort's) and one or more named as the cohort's: `accession`, `study_uid`, `patient`, `scan`, ….
    missing
        Words that stand for no report, or for no label, whatever their capitals; ids are never compared with them.
    uncertain
        What an uncertain mention trains: 1, 0, nothing (weight 0) or 0.75 (`soft`).
    not_mentioned
        What silence trains: 0, or nothing (weight 0).
    """

    reports: str | None = None
    id_column: str = "accession"
    text_column: str = "report"
    lexicon: str = "ct-rate"
    table: str | None = None
    encoding: str | None = None
    link: str | None = None
    missing: tuple[str, ...] = MISSING
    uncertain: Uncertain = "ones"
    not_mentioned: NotMentioned = "zeros"

    def __post_init__(self) -> None:
        if self.reports is not None and self.table is not None:
            raise ValueError("reports and table are both given: name the one that the labels come from")
        for name in ("reports", "id_column", "text_column", "lexicon", "table", "link"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty")
        if self.encoding is not None:
            check_encoding(self.encoding)
        if self.id_column == self.text_column:
            raise ValueError(f"id_column and text_column are both {self.id_column!r}")
        if self.uncertain not in {"ones", "zeros", "ignore", "soft"}:
            raise ValueError(f"uncertain is {self.uncertain!r}: one of ones, zeros, ignore, soft")
        if self.not_mentioned not in {"zeros", "ignore"}:
            raise ValueError(f"not_mentioned is {self.not_mentioned!r}: one of zeros, ignore")
