"""The page of a study's masks, of made-up abdomens ingested and checked for real."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import MissingError
from espalier.masks.checks import check_masks
from espalier.masks.files import Masks, write_masks
from espalier.masks.overlay import colour_of, middle_of, overlay
from espalier.masks.sheet import worst_first, write_masks_page
from espalier.masks.structures import STRUCTURES
from espalier.outputs import write_table
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient
from espalier.phantom.write import write_nifti

NAMES = dict(enumerate(STRUCTURES["abdomen"], start=1))


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four abdomens: masks of one are swapped, of one lack the liver, and one has none."""
    folder = tmp_path_factory.mktemp("study")
    made = {}
    for number in range(4):
        scan = make_patient(number, PhantomOptions(pixels=56, slice_mm=(5.0, 5.0))).scans[0]
        write_nifti(folder / "scans" / f"jane-doe-{number}" / f"scan{number}.nii.gz", scan.hu, scan.series.grid.affine)
        made[f"scan{number}"] = Masks(scan.masks, scan.series.grid.affine, NAMES)
    ingest(CohortOptions(sources=("scans",)), folder=folder)
    made["scan1"] = replace(made["scan1"], names=NAMES | {3: "kidney_right", 4: "kidney_left"})
    made["scan2"] = replace(made["scan2"], voxels=np.where(made["scan2"].voxels == 1, 0, made["scan2"].voxels).astype(np.uint8))
    rows = []
    for row in read_cohort(folder).to_dicts():
        if row["stem"] == "scan3":
            continue
        masks = made[row["stem"]]
        write_masks(folder / "masks" / f"{row['scan']}.nii.gz", masks)
        rows += [{"scan": row["scan"], **own} for own in check_masks(masks, read_scan(row, folder=folder))]
    write_table(folder / "masks.parquet", pl.DataFrame(rows), kind="masks")
    return folder


def scan_of(folder: Path, stem: str) -> str:
    return str(read_cohort(folder).filter(pl.col("stem") == stem)["scan"].item())


def test_the_page_counts_verdicts_and_reasons_and_shows_the_worst_first(checked: Path) -> None:
    text = write_masks_page(checked).read_text("utf-8")
    assert "1 of 3 scans with masks are trusted. 1 weighted down to a half, 1 dropped from the mask loss." in text
    assert "<b>1</b><span>without masks</span>" in text
    assert "Left stands on the right" in text
    captions = re.findall(r"<figcaption>((?:drop|down weight|trust)[^<]*)</figcaption>", text)
    assert [caption.splitlines()[-1] for caption in captions] == [scan_of(checked, f"scan{n}") for n in (1, 2, 0)]
    assert captions[0].startswith("drop: sides_swapped")
    assert captions[1].startswith("down weight: empty")
    assert len(re.findall(r"<img ", text)) == 3
    assert "liver, plausible 400 to 7,000, ml" in text


def test_the_page_names_no_patient_and_no_path_and_nothing_from_outside(checked: Path) -> None:
    text = write_masks_page(checked).read_text("utf-8")
    assert "jane" not in text
    assert str(checked) not in text
    assert "http:" not in text
    assert "https" not in text
    assert all(source.startswith("data:image/png") for source in re.findall(r'src="([^"]*)"', text))


def test_equal_masks_give_an_equal_page_and_fewer_pictures_when_asked(checked: Path) -> None:
    first = write_masks_page(checked).read_bytes()
    assert write_masks_page(checked).read_bytes() == first
    assert write_masks_page(checked, shown=1).read_text("utf-8").count("<img ") == 1


def test_a_scan_whose_masks_are_gone_is_counted_and_not_shown(checked: Path) -> None:
    gone = checked / "masks" / f"{scan_of(checked, 'scan2')}.nii.gz"
    kept = gone.read_bytes()
    gone.unlink()
    text = write_masks_page(checked).read_text("utf-8")
    gone.write_bytes(kept)
    assert "1 of 3 scans" in text
    assert text.count("<img ") == 2


def test_of_many_scans_each_reason_is_shown_before_any_is_shown_twice() -> None:
    rows = [{"scan": f"a{n:05d}", "reasons": ["cut_flat"]} for n in range(20000)]
    rows += [
        {"scan": f"b{n}", "reasons": [reason]} for n, reason in enumerate(("holes", "misplaced", "misplaced", "not_shown"))
    ]
    frame = pl.DataFrame(rows)
    verdicts = {row["scan"]: "drop" if "misplaced" in row["reasons"] else "down_weight" for row in rows} | {"b3": "trust"}
    assert worst_first(frame, verdicts, 3) == ["b1", "b0", "a00000"]
    assert worst_first(frame, verdicts, 24) == ["b1", "b2", "b0", "a00000", "a00001", "a00002", "a00003", "b3"]


def test_the_page_of_50000_scans_stays_small(checked: Path, tmp_path: Path) -> None:
    (tmp_path / "cohort.parquet").write_bytes((checked / "cohort.parquet").read_bytes())
    rng = np.random.default_rng(0)
    count = 50_000
    frame = pl.DataFrame(
        {
            "scan": [f"{n:016x}" for n in range(count) for _ in NAMES],
            "structure": list(NAMES.values()) * count,
            "volume_ml": rng.normal(900, 100, count * 5),
            "verdict": ["trust"] * (count * 5),
            "reasons": [[]] * (count * 5),
        },
        schema_overrides={"reasons": pl.List(pl.String)},
    )
    write_table(tmp_path / "masks.parquet", frame, kind="masks")
    page = write_masks_page(tmp_path)
    assert "50,000 of 50,000 scans" in page.read_text("utf-8")
    assert page.stat().st_size < 60_000


def test_pictures_hold_the_colours_of_the_legend_and_cut_through_the_structure_asked_for(checked: Path) -> None:
    import base64
    import io

    from PIL import Image

    row = read_cohort(checked).filter(pl.col("stem") == "scan0").row(0, named=True)
    volume = read_scan(row, folder=checked)
    scan = make_patient(0, PhantomOptions(pixels=56, slice_mm=(5.0, 5.0))).scans[0]
    masks = Masks(scan.masks, scan.series.grid.affine, NAMES)
    for value in NAMES:
        figure = overlay(volume, masks, at=middle_of(masks, [value]), caption="a < b")
        assert "a &lt; b" in figure
        data = re.findall(r"base64,([^\"]*)", figure)[0]
        assert len(data) < 40_000
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        wanted = [int(colour_of(value)[n : n + 2], 16) for n in (1, 3, 5)]
        assert (picture == wanted).all(axis=2).sum() > 20
    assert len({colour_of(value) for value in range(1, 118)}) == 117


def test_before_segment_the_stage_to_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="segment"):
        write_masks_page(tmp_path)
