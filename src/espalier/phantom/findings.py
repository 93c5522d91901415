"""What a made-up patient has: the truth that drawing, report and tables of one scan share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Anatomy = Literal["chest", "trauma"]
Detail = str | int | float

CHEST: Final = (
    "cardiomegaly",
    "pericardial_effusion",
    "pleural_effusion",
    "consolidation",
    "lung_opacity",
    "lung_nodule",
    "coronary_artery_wall_calcification",
    "emphysema",
    "hiatal_hernia",
    "atelectasis",
    "lymphadenopathy",
    "pulmonary_fibrotic_sequela",
)
SOLID: Final = ("kidney", "liver", "spleen")
TRAUMA: Final = (
    "bowel_healthy",
    "bowel_injury",
    "extravasation_healthy",
    "extravasation_injury",
    *(f"{structure}_{grade}" for structure in SOLID for grade in ("healthy", "low", "high")),
    "any_injury",
)
FINDINGS: Final[Mapping[Anatomy, tuple[str, ...]]] = {"chest": CHEST, "trauma": TRAUMA}

CHEST_LOOK_ALIKES: Final = (
    "subcutaneous_nodule",
    "subcutaneous_mass",
    "lipoma",
    "calcified_granuloma_liver",
    "calcified_granuloma_lung",
    "aortic_calcification",
    "mediastinal_calcification",
    "pleural_calcification",
    "skin_calcification",
    "ascites",
    "oesophageal_air",
    "port",
)
TRAUMA_LOOK_ALIKES: Final = (
    "pancreatic_cyst",
    "pelvic_mass",
    "muscle_haematoma",
    "psoas_haematoma",
    "mesenteric_node",
    "mesenteric_cyst",
    "gallbladder",
    "wall_calcification",
    "oral_contrast",
    "subcutaneous_gas",
    "streaks",
)
LOOK_ALIKES: Final[Mapping[Anatomy, tuple[str, ...]]] = {"chest": CHEST_LOOK_ALIKES, "trauma": TRAUMA_LOOK_ALIKES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """What one made-up scan shows, known before it is drawn.

    Parameters
    ----------
    anatomy
        "chest" or "trauma".
    findings
        0 or 1 for every name in `FINDINGS[anatomy]`, in that order. Trauma: the 14 columns of RATIC, each group
        (bowel, extravasation: healthy, injury; kidney, liver, spleen: healthy, low, high) adds up to 1, and
        `any_injury` is 1 where any group is not healthy.
    details
        More about the findings that are there; absent findings have no entry.

        ==========================================  =====================================================
        trauma key                                  value
        ==========================================  =====================================================
        ``kidney_grade liver_grade spleen_grade``   int, AAST grade: 1-3 low, 4-5 high
        ``kidney_side``                             "left" or "right"
        ``liver_size_mm`` and so on                 float, longest diameter of the largest laceration
        ``liver_lesions`` and so on                 int, number of lacerations
        ``bowel_pattern``                           "haematoma", "free_gas" or "both"
        ``extravasation_place``                     "liver", "spleen", "kidney" or "mesentery"
        ``extravasation_size_mm``                   float
        ==========================================  =====================================================

        ==========================================  =====================================================
        chest key                                   value
        ==========================================  =====================================================
        ``pleural_effusion_side``                   "left", "right" or "both"
        ``pleural_effusion_mm``                     float, depth of the layer
        ``pericardial_effusion_mm``                 float, thickness
        ``cardiomegaly_ratio``                      float, cardiothoracic ratio
        ``consolidation_lobe``                      a lobe, as in the structures: "lung_lower_lobe_left", ...
        ``lung_opacity_lobe``                       the same
        ``lung_nodule_count``                       int
        ``lung_nodule_size_mm``                     float, the largest
        ``lung_nodule_lobe``                        lobe of the largest nodule
        ``coronary_artery_wall_calcification_count``  int
        ``hiatal_hernia_size_mm``                   float
        ``atelectasis_side``                        "left" or "right" (a lower lobe)
        ``lymphadenopathy_count``                   int
        ``lymphadenopathy_size_mm``                 float, the largest
        ==========================================  =====================================================
    look_alikes
        Names from `LOOK_ALIKES[anatomy]` of what was drawn too and is no finding, each once; independent of `findings`.
    """

    anatomy: Anatomy
    findings: Mapping[str, int]
    details: Mapping[str, Detail] = field(default_factory=dict)
    look_alikes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.findings) != FINDINGS[self.anatomy]:
            raise ValueError(f"findings are {tuple(self.findings)}: expected those of {self.anatomy}, in their order")
        unknown = set(self.look_alikes) - set(LOOK_ALIKES[self.anatomy])
        if unknown or len(set(self.look_alikes)) != len(self.look_alikes):
            raise ValueError(f"look_alikes are {self.look_alikes}: expected names of {self.anatomy}, each once")
