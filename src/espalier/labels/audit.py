"""The audit: draw labels for people to read again, and say from their answers how good the labels are.

`draw_audit` writes a folder `audit/1`, `audit/2`, … beside the study: `sheet.html` to read, `cells.csv` to fill, and last
`drawn.json`, without which an audit does not count. `score_audit` reads the filled table back.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from espalier.cohort.cells import plain_id
from espalier.cohort.csv_table import read_csv
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.errors import InputError, UseError
from espalier.labels.audit_answers import AGREED, CELLS, READERS, read_answers, write_for_spreadsheets
from espalier.labels.audit_draw import (
    DRAWN,
    FOLDER,
    SCORE,
    SCORE_PAGE,
    SHEET,
    Cell,
    Drawn,
    Side,
    audits,
    draw,
    hash_of_states,
    read_drawn,
    states_of_labels,
    write_drawn,
)
from espalier.labels.audit_score import Score, score
from espalier.labels.audit_sheet import Evidence, sheet
from espalier.labels.audit_words import data_of, page_of
from espalier.labels.label import EVIDENCE, read_labels
from espalier.labels.options import LabelOptions
from espalier.labels.reading import make_reader
from espalier.labels.reports import Reports, group_reports, read_tables
from espalier.labels.targets import options_by_finding, target_of
from espalier.outputs import read_table, write_json, written_whole
from espalier.stage import Summary

LEAVE_OUT: Final = "leave_out.csv"
SCORE_KIND: Final = "audit_score"
FEWEST: Final = 3
_SEED: Final = 0


def draw_audit(
    options: LabelOptions, *, folder: Path, cells: int, blind: bool = False, seed: int = _SEED, pseudonyms: str | None = None
) -> Summary:
    """Draw labels of a study for people to read again, and write the sheet for them; call it when the labels are up to date.

    Reports of earlier audits are not drawn again, nor those whose ids stand in `audit/leave_out.csv`.

    Parameters
    ----------
    options
        Where the reports are.
    folder
        The study's folder.
    cells
        About how many labels of each finding, a third each of what the rules call present, uncertain, and absent or not
        mentioned; what one of them lacks is drawn from the others.
    blind
        Hide from readers what the rules said and where.
    seed
        Of the draw.
    pseudonyms
        The key file of `[cohort] pseudonyms`.

    Raises
    ------
    UseError
        Where fewer than 3 cells are asked for, or the labels come from a table and not from reports.
    MissingError
        Where there are no labels yet.
    InputError
        Where the reports changed since they were labelled, or none is left to draw.
    """
    if cells < FEWEST:
        raise UseError("--audit", found=f"{cells} labels for each finding", expected=f"at least {FEWEST}", do="Draw about 90.")
    if options.reports is None:
        found, do = "labels from a table, without reports to read again", "Name the reports in [labels] reports."
        raise UseError("--audit", found=found, expected="labels that were read from reports", do=do)
    secret = read_key(folder / pseudonyms) if pseudonyms else None
    reports = group_reports(read_tables(options, folder), options)
    texts = {_name(one, secret): text for one, text in reports.texts.items()}
    states = states_of_labels(read_labels(folder))
    earlier = audits(folder)
    gone = {report for one in earlier for report in read_drawn(one).reports} | _left_out(options, folder, reports, secret)
    number = max([int(one.name) for one in earlier], default=0) + 1
    sizes, drawn_cells = draw(states.filter(~pl.col("report").is_in(list(gone))), cells=cells, seed=seed, number=number)
    if not drawn_cells:
        found, do = "no report is left to draw", f"Remove old audits from {FOLDER} if they no longer count."
        raise InputError(folder / FOLDER, found=found, expected="reports that no audit has drawn before", do=do)
    drawn = Drawn(
        number=number,
        seed=seed,
        blind=blind,
        labels=hash_of_states(states),
        uncertain=_uncertain(options, folder, tuple(sizes)),
        sizes=sizes,
        cells=drawn_cells,
    )
    own = _write(folder, drawn, texts)
    return _summary(own, drawn, left_out=len(gone & set(states["report"])))


def _write(folder: Path, drawn: Drawn, texts: Mapping[str, str]) -> Path:
    own = _private_folder(folder, drawn.number)
    evidence = _evidence(folder, drawn, texts)
    _write_text(own / SHEET, sheet(drawn, texts=texts, evidence=evidence))
    _write_cells(own / CELLS, drawn)
    write_drawn(own / DRAWN, drawn)
    return own


def _summary(own: Path, drawn: Drawn, *, left_out: int) -> Summary:
    words = (
        f"audit {drawn.number}: {len(drawn.cells)} labels of {len(drawn.reports)} reports to read again"
        f"{', blind' if drawn.blind else ''}. Read {SHEET}, write 1, 0 or ? into {CELLS}. Both are private."
    )
    if left_out:
        words += f" {left_out} reports were left out, as they were audited before or stand in {LEAVE_OUT}."
    return Summary(verb="label", done=len(drawn.cells), words=words, wrote=tuple(own / n for n in (SHEET, CELLS, DRAWN)))


def _name(one: str, secret: bytes | None) -> str:
    """Return the name of a report in the labels; ids of all kinds share one space of pseudonyms."""
    return pseudonym_of("report", one, secret) if secret else one


def _left_out(options: LabelOptions, folder: Path, reports: Reports, secret: bytes | None) -> set[str]:
    """Return the reports, as labels name them, that stand in `audit/leave_out.csv`, as those that rules were written on."""
    path = folder / FOLDER / LEAVE_OUT
    if not path.is_file():
        return set()
    table = read_csv(path)
    place = table.place(options.id_column) or 0
    ids = {plain_id(row[place]) for row in table.rows}
    called = {one: {one, _name(one, secret), *reports.volumes.get(one, ())} for one in reports.rows}
    found = {one for one, names in called.items() if names & ids}
    if ids and not found:
        do = f"Put ids as in the table of reports into its column {options.id_column}."
        raise InputError(path, found="none of its ids is that of a report", expected="ids of reports", do=do)
    return {_name(one, secret) for one in found}


def _uncertain(options: LabelOptions, folder: Path, findings: Sequence[str]) -> dict[str, Side]:
    """Return what uncertain counts as for each finding: what it trains, or neither where it trains nothing."""
    each = options_by_finding(options, make_reader(options.lexicon, folder=folder).findings)
    out: dict[str, Side] = {}
    for finding in findings:
        target, weight = target_of("uncertain", each[finding], healthy=finding.endswith("_healthy"))
        out[finding] = "out" if weight == 0 else "positive" if target >= 0.5 else "negative"
    return out


def _private_folder(folder: Path, number: int) -> Path:
    own = folder / FOLDER / str(number)
    for path in (own.parent, own):
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
    return own


def _write_text(path: Path, text: str, *, private: bool = True) -> None:
    with written_whole(path, private=private) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_cells(path: Path, drawn: Drawn) -> None:
    columns = ("cell", "report", "finding", *([] if drawn.blind else ["state"]), *READERS, AGREED, "comment")
    rows = [{"cell": c.id, "report": c.report, "finding": c.finding, "state": c.state} for c in drawn.cells]
    write_for_spreadsheets(path, rows, columns)


def _evidence(folder: Path, drawn: Drawn, texts: Mapping[str, str]) -> dict[str, list[Evidence]]:
    """Return per cell where the rules saw its finding, once it is sure that the reports are still those that were read."""
    table = read_table(folder / EVIDENCE, kind="evidence")
    # Evidence without a place in the text cannot be marked.
    table = table.filter(pl.col("report").is_in(list(drawn.reports)) & (pl.col("start") >= 0))
    table = table.with_columns(pl.col("match_start").fill_null(pl.col("start")), pl.col("match_end").fill_null(pl.col("end")))
    by_report: dict[str, list[Evidence]] = {}
    changed = [one for one in drawn.reports if one not in texts]
    columns = ("report", "finding", "start", "end", "match_start", "match_end", "evidence")
    for report, finding, start, end, match_start, match_end, text in table.select(columns).iter_rows():
        if report in texts and texts[report][start:end] != text:
            changed.append(report)
        by_report.setdefault(report, []).append(Evidence(finding, start, end, match_start, match_end))
    if changed:
        found = f"{len(set(changed))} reports are not as they were when they were labelled"
        raise InputError(folder / EVIDENCE, found=found, do="Run `espalier label` again, then draw the audit.")
    return {c.id: [e for e in by_report.get(c.report, ()) if _speaks_of(e.finding, c, drawn)] for c in drawn.cells}


def _speaks_of(finding: str, cell: Cell, drawn: Drawn) -> bool:
    """Say whether evidence of a finding is that of a cell; columns of one trauma structure share theirs."""
    if finding == cell.finding:
        return True
    structure = cell.finding.rpartition("_")[0]
    if cell.finding == "any_injury" and "liver_healthy" in drawn.findings:
        return True
    return f"{structure}_healthy" in drawn.findings and finding.rpartition("_")[0] == structure


def score_audit(path: Path) -> Score:
    """Read the filled table of an audit back, and write `score.json` and `score.html` beside it.

    Parameters
    ----------
    path
        The audit's folder, `audit/1`, or the table in it; the study is the folder two above.

    Raises
    ------
    MissingError
        Where it is no audit's folder, or the study's labels are gone.
    InputError
        Where the labels are others than those that were drawn from, or the table is not that of this audit, says nothing, or
        has cells that are no answer.
    """
    own = path.parent if path.suffix.lower() == ".csv" else path
    own = own.resolve()
    drawn = read_drawn(own)
    if hash_of_states(states_of_labels(read_labels(own.parents[1]))) != drawn.labels:
        found = "labels that changed since this audit was drawn"
        do = "Draw a new audit, or bring back the lexicon and reports of that time and run `espalier label`."
        raise InputError(own, found=found, expected="the labels that it was drawn from", do=do)
    result = score(drawn, read_answers(own, drawn))
    write_json(own / SCORE, data_of(result), kind=SCORE_KIND, key=drawn.labels)
    _write_text(own / SCORE_PAGE, page_of(result), private=False)
    return result
