"""`espalier forget PATIENT [STUDY]`."""

from dataclasses import asdict
from pathlib import Path

from espalier.cli.speak import Told
from espalier.cli.study_file import Changes, StudyPath
from espalier.pipeline.forget import forget as forget_patient
from espalier.pipeline.forget import words_of
from espalier.study import read_study


def forget(patient: str, study: StudyPath = Path("study.toml"), *, remove_trained: bool = False, changes: Changes = ()) -> Told:
    """Remove a withdrawn patient from everything a study made, and say what must be made again.

    Parameters
    ----------
    patient
        The patient's id as in cohort.parquet; with [cohort] pseudonyms also the original one.
    remove_trained
        Also remove the runs, evaluations, comparison and bundle that rest on the patient.
    """
    done = forget_patient(read_study(study, changes=changes), patient, remove_trained=remove_trained)
    lines = words_of(done, remove_trained=remove_trained, study=study)
    return Told(lines=tuple(lines), data={"forgotten": asdict(done)})
