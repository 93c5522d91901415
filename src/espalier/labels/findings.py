"""What a report can say: the finding sets of the three published data sets, in the published order."""

import re
from collections.abc import Mapping
from typing import Final

CT_RATE_TITLES: Final = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)
RAD_CHESTCT_TITLES: Final = (
    "Catheter or port",
    "Lymphadenopathy",
    "Septal thickening",
    "Hernia",
    "Nodule",
    "Pericardial effusion",
    "Scarring",
    "Bronchial wall thickening",
    "Opacities",
    "Emphysema",
    "Cardiomegaly",
    "Pleural effusion",
    "Bronchiectasis",
    "Consolidation",
    "Atelectasis",
    "Calcification",
)
RATIC_COLUMNS: Final = (
    "bowel_healthy",
    "bowel_injury",
    "extravasation_healthy",
    "extravasation_injury",
    "kidney_healthy",
    "kidney_low",
    "kidney_high",
    "liver_healthy",
    "liver_low",
    "liver_high",
    "spleen_healthy",
    "spleen_low",
    "spleen_high",
    "any_injury",
)


def finding_id(title: str) -> str:
    """Return the id of a finding: the published name in snake case ("Lung nodule" becomes "lung_nodule")."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


FINDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "ct-rate": tuple(finding_id(title) for title in CT_RATE_TITLES),
    "rad-chestct": tuple(finding_id(title) for title in RAD_CHESTCT_TITLES),
    "ratic": RATIC_COLUMNS,
}
TITLES: Final[Mapping[str, str]] = {
    finding_id(title): title for title in (*RAD_CHESTCT_TITLES, *CT_RATE_TITLES, *RATIC_COLUMNS)
}
RATIC_GRADED: Final = ("kidney", "liver", "spleen")
RATIC_BINARY: Final = ("bowel", "extravasation")
