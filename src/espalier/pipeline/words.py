"""Words for a lexicon that a study's own reports suggest."""

from collections.abc import Sequence

from espalier.cohort.pseudonyms import read_key
from espalier.errors import UseError
from espalier.labels.lexicon import read_lexicon
from espalier.labels.model_work import Estimate, estimate_study
from espalier.labels.reading import read_all
from espalier.labels.reports import group_reports, read_tables
from espalier.labels.suggest import Suggestion, suggest
from espalier.labels.trauma_words import is_trauma
from espalier.labels.withdrawn import texts_left
from espalier.study import StudyFile


def suggestions(study: StudyFile, *, workers: int) -> Sequence[Suggestion]:
    """Return words near a finding's words that no rule of the study's lexicon matched, the most frequent first.

    Reports of patients who have withdrawn are not read.

    Raises
    ------
    UseError
        Where the study has no report texts, or a trauma lexicon.
    """
    options = study.label_options()
    if options.reports is None:
        raise UseError("[labels]", found="no reports", expected="reports = a table", do="Suggestions need report texts.")
    if is_trauma(options.lexicon, folder=study.folder):
        raise UseError("[labels] lexicon", found="a trauma lexicon", expected="one of findings", do="Suggest with another.")
    lexicon = read_lexicon(options.lexicon, folder=study.folder)
    reports = group_reports(read_tables(options, study.folder), options)
    texts = texts_left(reports, options, folder=study.folder, secret=_secret(study))
    return suggest(texts, read_all(texts, lexicon=options.lexicon, folder=study.folder, workers=workers), lexicon)


def model_cost(study: StudyFile, *, workers: int) -> Estimate:
    """Return what asking the study's language model would cost; nothing is asked."""
    return estimate_study(study.label_options(), folder=study.folder, workers=workers, secret=_secret(study))


def _secret(study: StudyFile) -> bytes | None:
    cohort = study.study.cohort
    return read_key(study.folder / cohort.pseudonyms) if cohort is not None and cohort.pseudonyms else None
