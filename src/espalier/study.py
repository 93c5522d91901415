"""A study: the options of every room in one frozen value, read from `study.toml`, with its arms spelled out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from espalier.cohort.options import BodyPart, CohortOptions, SplitOptions
from espalier.comparison.options import ComparisonOptions
from espalier.deployment.options import ExportOptions
from espalier.errors import MissingError, SettingsError
from espalier.evaluation.options import EvaluationOptions
from espalier.labels.options import LabelOptions
from espalier.masks.options import MaskOptions
from espalier.settings import changed, merged, parse, read_toml
from espalier.store.options import StoreOptions
from espalier.training.options import TrainingOptions

RECIPES: Final = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What one study file says; a table that is not there is None, and only the verbs that need it ask for it."""

    cohort: CohortOptions | None = None
    splits: SplitOptions = field(default_factory=SplitOptions)
    labels: LabelOptions | None = None
    masks: MaskOptions = field(default_factory=MaskOptions)
    store: StoreOptions = field(default_factory=StoreOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    comparison: ComparisonOptions = field(default_factory=ComparisonOptions)
    export: ExportOptions = field(default_factory=ExportOptions)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFile:
    """A study with where it lies, its arms, and the changes of the command line."""

    path: Path
    study: Study
    arms: Mapping[str, TrainingOptions]
    changes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder in which everything made from the study lies."""
        return self.path.parent

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that every arm is trained with."""
        return self.study.training.seeds

    def cohort_options(self) -> CohortOptions:
        """Return the `[cohort]` table with the body part that the study is about; raise `MissingError` where it has none."""
        if self.study.cohort is None:
            raise _no_table(self.path, "cohort", 'sources = ["path to your scans"]')
        return replace(self.study.cohort, body_part=self.study.cohort.body_part or _body_part(self.study))

    def label_options(self) -> LabelOptions:
        """Return the `[labels]` table; raise `MissingError` where the study has none."""
        if self.study.labels is None:
            raise _no_table(self.path, "labels", 'reports = "reports.csv"')
        return self.study.labels


def read_study(path: Path | str, *, changes: Sequence[str] = ()) -> StudyFile:
    """Read a study file with the command line's `--set` changes; raise one `SettingsError` for all its mistakes."""
    path = Path(path).resolve()
    if path.is_dir():
        path = path / "study.toml"
    tables = changed(read_toml(path), changes)
    arms = tables.pop("arms", {})
    study = parse(Study, tables, source=path)
    return StudyFile(path=path, study=study, arms=_arms(arms, tables, study, path), changes=tuple(changes))


def _arms(arms: Mapping[str, Any], tables: Mapping[str, Any], study: Study, path: Path) -> Mapping[str, TrainingOptions]:
    """Give every arm its whole `[training]` table: the shared one with the arm's own values in their places."""
    if not arms:
        name = "masks" if study.training.supervision.weight > 0 else "plain"
        return MappingProxyType({name: study.training})
    out = {}
    for name, own in arms.items():
        if not name.replace("-", "_").isidentifier():
            raise SettingsError(path, found=f"an arm named {name!r}", expected="letters, digits, - and _", do="Rename the arm.")
        foreign = sorted(set(own) - {"training"})
        if foreign:
            found = f"[arms.{name}.{foreign[0]}] changes a table that all arms share"
            raise SettingsError(path, found=found, expected="[training] only", do="Move it to the shared settings.")
        whole = {"training": merged(tables.get("training", {}), own.get("training", {}))}
        training = parse(Study, whole, source=path).training
        out[name] = replace(training, seeds=study.training.seeds)
    return MappingProxyType(out)


def _body_part(study: Study) -> BodyPart | None:
    """Return what the study is about by its data set or lexicon, where one of them tells."""
    told = {study.cohort.layout if study.cohort else None, study.labels.lexicon if study.labels else None}
    if told & {"ct-rate", "ct-rate-de", "rad-chestct"}:
        return "chest"
    return "abdomen" if "ratic" in told else None


def _no_table(path: Path, table: str, line: str) -> MissingError:
    return MissingError(path, found=f"no [{table}] table", expected="one, for this verb", do=f"Add [{table}] with {line}.")


def recipe_names() -> tuple[str, ...]:
    """Return the names of the shipped recipes."""
    return tuple(sorted(p.stem for p in RECIPES.glob("*.toml")))


def recipe_text(name: str) -> str:
    """Return a shipped recipe as it stands, comments included; raise `SettingsError` for an unknown name."""
    if name not in recipe_names():
        raise SettingsError(
            f"recipe {name!r}", found="no such recipe", expected=", ".join(recipe_names()), do="Name one of these."
        )
    return (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
