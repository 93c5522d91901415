"""How far masks are trusted, from the table of `segment` into the store."""

from pathlib import Path

import polars as pl

from espalier.outputs import hash_file, key_of, read_table, table_metadata, write_table
from espalier.store.build import prepare
from espalier.store.read import open_store


def judge(folder: Path, scan: str, reason: str, verdict: str) -> None:
    """Put a reason and a verdict on all structures of a scan."""
    path = folder / "masks.parquet"
    own = pl.col("scan") == scan
    frame = read_table(path, kind="masks").with_columns(
        pl.when(own).then(pl.lit([reason])).otherwise(pl.col("reasons")).alias("reasons"),
        pl.when(own).then(pl.lit(verdict)).otherwise(pl.col("verdict")).alias("verdict"),
    )
    more = {"structures": table_metadata(path, kind="masks")["structures"]}
    write_table(path, frame, kind="masks", key=str(key_of(path)), more=more)


def trusted(folder: Path) -> None:
    for scan in read_table(folder / "masks.parquet", kind="masks")["scan"].unique():
        judge(folder, scan, "not_shown", "trust")


def arrays(folder: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in (folder / "store").iterdir()}


def test_masks_that_are_weighted_down_are_stored_with_half_their_weight(segmented: Path, small, scan_of) -> None:
    trusted(segmented)
    prepare(small, folder=segmented)
    before, scans = arrays(segmented), [scan_of(segmented, f"scan{n}") for n in (1, 2, 3)]
    store = open_store(segmented)
    assert [store.mask_weight(scan) for scan in scans] == [1.0, 1.0, 0.0]
    judge(segmented, scans[0], "volume_small", "down_weight")
    summary = prepare(small, folder=segmented)
    assert "0 made now" in summary.words
    assert arrays(segmented) == before
    assert [open_store(segmented).mask_weight(scan) for scan in scans] == [0.5, 1.0, 0.0]
    assert open_store(segmented).key != store.key


def test_masks_that_are_dropped_are_not_stored(segmented: Path, small, scan_of) -> None:
    trusted(segmented)
    prepare(small, folder=segmented)
    scan = scan_of(segmented, "scan1")
    judge(segmented, scan, "misplaced", "drop")
    prepare(small, folder=segmented)
    store = open_store(segmented)
    assert not store.has_masks(scan)
    assert store.mask_weight(scan) == 0.0
    assert f"{scan}.mask.b2nd" not in arrays(segmented)
    assert f"{scan}.b2nd" in arrays(segmented)
