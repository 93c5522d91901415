"""What can be set about labels."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

from espalier.cohort.cells import MISSING
from espalier.cohort.encodings import check_encoding

Uncertain = Literal["ones", "zeros", "ignore", "soft"]
NotMentioned = Literal["zeros", "ignore"]
NO_TEXT: Final = (*MISSING, "not given", "not given.")
"""Words for no report and no label; the last two are those of CT-RATE."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModelOptions:
    """A language model behind an OpenAI-compatible address, and what it is asked.

    Parameters
    ----------
    url
        The address up to `/v1`, as `http://127.0.0.1:8000/v1`. Only this machine, unless `allow_remote` says otherwise.
    name
        The model's name, as the server calls it. Answers are kept under it: other weights need another name.
    order
        "rules first" asks what the rules leave uncertain and what the report both states and denies; "model only" asks
        everything; a list of findings, by id or title, asks these and leaves the others to the rules.
    allow_remote
        The one other host that report texts may be sent to, exactly as it stands in `url`.
    api_key_env
        The environment variable that holds the key of the server, where it wants one.
    definitions
        What a finding means, by id, where its name does not say enough; else phrases of the lexicon are told.
    group
        Findings per request.
    parallel
        Requests side by side.
    timeout_s
        Seconds that one request may take as a whole.
    retries, wait_s, longest_wait_s
        How often a request is repeated after a timeout, a lost connection, a 429 or a 5xx; the first pause in seconds,
        which doubles each time; and the longest.
    seed
        Given to the server with temperature 0.
    max_tokens
        The longest answer, in tokens.
    extra
        More keys for the body of each request, as `chat_template_kwargs = { enable_thinking = false }`.
    tokens_per_s
        Tokens read and written per second, all requests together, as an earlier run says: what a dry run reckons with.
    price_in, price_out
        The price of a million tokens read and written, in any currency: what a dry run reckons with.
    """

    url: str
    name: str
    order: Literal["rules first", "model only"] | tuple[str, ...] = "rules first"
    allow_remote: str | None = None
    api_key_env: str | None = None
    definitions: Mapping[str, str] = field(default_factory=dict)
    group: int = 6
    parallel: int = 4
    timeout_s: float = 120.0
    retries: int = 4
    wait_s: float = 1.0
    longest_wait_s: float = 60.0
    seed: int = 0
    max_tokens: int = 2048
    extra: Mapping[str, Any] = field(default_factory=dict)
    tokens_per_s: float | None = None
    price_in: float | None = None
    price_out: float | None = None

    def __post_init__(self) -> None:
        _check_url(self.url, self.allow_remote)
        for name in ("name", "api_key_env", "order"):
            if getattr(self, name) is not None and not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if isinstance(self.order, str) and self.order not in {"rules first", "model only"}:
            raise ValueError('order is a word: write "rules first", "model only", or a list of findings')
        for name in ("group", "parallel", "timeout_s", "wait_s", "longest_wait_s", "max_tokens", "tokens_per_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}: it must be above 0")
        for name in ("retries", "price_in", "price_out"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}: it must not be below 0")
        taken = sorted(
            {"model", "messages", "response_format", "temperature", "seed", "max_tokens", "stream"} & set(self.extra)
        )
        if taken:
            raise ValueError(f"extra sets {taken[0]}, which Espalier sets itself")
        try:
            json.dumps(self.extra)
        except (TypeError, ValueError):
            raise ValueError("extra holds something that JSON does not know, as a date") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelOptions:
    """Where labels come from and how states become targets.

    Parameters
    ----------
    reports
        A CSV with one report per row, relative to the study's folder; or several with the same columns.
    id_column, text_column
        Its columns with the id (accession number, study UID, patient or file name) and with the text. Where several columns
        hold the text, they are joined in this order, each below its name as a heading.
    lexicon
        A shipped lexicon (`ct-rate`, `ratic`) or the path of a TOML file of your own.
    table
        Instead of `reports`: a CSV with `id_column` and one column of 0 and 1 per finding, or one for each finding and
        place as in RAD-ChestCT; or several with the same columns.
    findings
        The findings that count, by id or title; "all" takes every column of a table. When absent, those of `lexicon`, or
        every column of a table that has none of them.
    encoding
        The encoding of these tables, as `cp1254`; found when absent.
    link
        A CSV that says whose the ids of the reports are: a column with those ids (named as `id_column`, or else the one
        that is none of the cohort's) and one or more named as the cohort's: `accession`, `study_uid`, `patient`, `scan`, ….
    several_rows
        What becomes of rows of one id whose texts differ: `refuse` leaves them out and tells them; `join` puts them together
        in the order of the table, as a report with its addenda.
    missing
        Words that stand for no report, or for no label, whatever their capitals; ids are never compared with them.
    uncertain
        What an uncertain mention trains: 1, 0, nothing (weight 0) or 0.75 (`soft`).
    not_mentioned
        What silence trains: 0, or nothing (weight 0).
    uncertain_of, not_mentioned_of
        The same for single findings, by id or title. Trauma findings are set for a structure as a whole: `liver`.
    model
        A language model that reads reports with the rules, or in their place.
    """

    reports: str | tuple[str, ...] | None = None
    id_column: str = "accession"
    text_column: str | tuple[str, ...] = "report"
    lexicon: str = "ct-rate"
    table: str | tuple[str, ...] | None = None
    findings: Literal["all"] | tuple[str, ...] | None = None
    encoding: str | None = None
    link: str | None = None
    several_rows: Literal["refuse", "join"] = "refuse"
    missing: tuple[str, ...] = NO_TEXT
    uncertain: Uncertain = "ones"
    not_mentioned: NotMentioned = "zeros"
    uncertain_of: Mapping[str, Uncertain] = field(default_factory=dict)
    not_mentioned_of: Mapping[str, NotMentioned] = field(default_factory=dict)
    model: LanguageModelOptions | None = None

    def __post_init__(self) -> None:
        if self.reports is not None and self.table is not None:
            raise ValueError("reports and table are both given: name the one that the labels come from")
        if self.model is not None and self.reports is None:
            raise ValueError("model is given without reports: there is no text that it could read")
        for name in ("reports", "id_column", "text_column", "lexicon", "table", "link", "findings"):
            value = getattr(self, name)
            if value is not None and (not value or "" in several(value)):
                raise ValueError(f"{name} is empty")
            if len(set(several(value))) < len(several(value)):
                raise ValueError(f"{name} names something twice")
        if isinstance(self.findings, str) and self.findings != "all":
            raise ValueError('findings is a word: write "all", or a list of findings')
        if self.encoding is not None:
            check_encoding(self.encoding)
        if self.id_column in several(self.text_column):
            raise ValueError(f"id_column and text_column are both {self.id_column!r}")
        _check_choices("uncertain", self.uncertain, self.uncertain_of, get_args(Uncertain))
        _check_choices("not_mentioned", self.not_mentioned, self.not_mentioned_of, get_args(NotMentioned))

    @property
    def sources(self) -> tuple[str, ...]:
        """The tables that the labels come from, relative to the study's folder."""
        return several(self.reports) or several(self.table)


def several(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return what a setting names: one, several or nothing."""
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _check_choices(name: str, value: str, each: Mapping[str, str], allowed: tuple[str, ...]) -> None:
    wrong = next(((where, one) for where, one in {name: value, **each}.items() if one not in allowed), None)
    if wrong:
        where = name if wrong[0] == name else f"{name}_of {wrong[0]!r}"
        raise ValueError(f"{where} is {wrong[1]!r}: one of {', '.join(allowed)}")


def is_this_machine(host: str) -> bool:
    """Say whether a host is written as this machine: `localhost` or a loopback address."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(url: str, allow_remote: str | None) -> None:
    """Refuse an address that is none, that holds a password, or whose host was not allowed; the address is not repeated."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("url is no address: write it as http://127.0.0.1:8000/v1") from None
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or any(c.isspace() for c in url):
        raise ValueError("url is no address: write it as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a user name or password: put the key into the variable that api_key_env names")
    if parts.query or parts.fragment:
        raise ValueError("url has more behind its path: write it up to /v1")
    if not is_this_machine(host) and host != (allow_remote or "").lower():
        raise ValueError(
            f"url leads to {host}, and report texts leave this machine only where allow_remote names exactly that host"
        )
