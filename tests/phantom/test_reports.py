"""Made-up reports say the truth of their scan, in several ways of writing."""

import re
import tomllib
from importlib import resources

import numpy as np
import pytest

from espalier.phantom.findings import CHEST, LOOK_ALIKES, TRAUMA, Truth
from espalier.phantom.reports import STYLES, present_and_absent, report_text

DETAILS = {
    "pleural_effusion_side": "both",
    "pleural_effusion_mm": 14.0,
    "pericardial_effusion_mm": 9.0,
    "cardiomegaly_ratio": 0.56,
    "consolidation_lobe": "lung_lower_lobe_left",
    "lung_opacity_lobe": "lung_upper_lobe_right",
    "lung_nodule_count": 3,
    "lung_nodule_size_mm": 11.0,
    "lung_nodule_lobe": "lung_middle_lobe_right",
    "coronary_artery_wall_calcification_count": 4,
    "hiatal_hernia_size_mm": 41.0,
    "atelectasis_side": "right",
    "lymphadenopathy_count": 2,
    "lymphadenopathy_size_mm": 17.0,
}
WORDS = {
    "cardiomegaly": r"cardiomegaly|enlarged|heart size is increased",
    "pericardial_effusion": r"pericardi|surrounds the heart",
    "pleural_effusion": r"pleura",
    "consolidation": r"consolidation",
    "lung_opacity": r"ground-glass",
    "lung_nodule": r"nodul",
    "coronary_artery_wall_calcification": r"coronary",
    "emphysema": r"emphysem",
    "hiatal_hernia": r"hernia",
    "atelectasis": r"atelecta",
    "lymphadenopathy": r"node|lymphaden",
    "pulmonary_fibrotic_sequela": r"fibro|scarring",
    "liver_low": r"liver|hepatic",
    "liver_high": r"liver|hepatic",
    "spleen_low": r"spleen|splenic",
    "spleen_high": r"spleen|splenic",
    "kidney_low": r"kidney|renal",
    "kidney_high": r"kidney|renal",
    "bowel_injury": r"bowel",
    "extravasation_injury": r"active|blush|ongoing hemorrhage",
}
PHRASES = {
    name: tomllib.loads((resources.files("espalier.phantom") / "phrases" / f"{name}.toml").read_text()) for name in LOOK_ALIKES
}


def chest(*present: str, look_alikes: tuple[str, ...] = ()) -> Truth:
    details = {k: v for k, v in DETAILS.items() if any(k.startswith(f"{f}_") for f in present)}
    return Truth(anatomy="chest", findings={f: int(f in present) for f in CHEST}, details=details, look_alikes=look_alikes)


def trauma(look_alikes: tuple[str, ...] = (), **grades: int) -> Truth:
    details: dict[str, str | int | float] = {}
    injured = set()
    for structure, grade in grades.items():
        solid = structure in {"liver", "spleen", "kidney"}
        injured.add(f"{structure}_{'injury' if not solid else 'low' if grade <= 3 else 'high'}")
        if solid:
            details |= {f"{structure}_grade": grade, f"{structure}_size_mm": 23.0, f"{structure}_lesions": 1}
    if "kidney" in grades:
        details["kidney_side"] = "left"
    if "bowel" in grades:
        details["bowel_pattern"] = "both"
    if "extravasation" in grades:
        details |= {"extravasation_place": "spleen", "extravasation_size_mm": 8.0}
    injured |= {
        f"{s}_healthy" for s in ("bowel", "extravasation", "kidney", "liver", "spleen") if s not in grades
    }  # healthy is a column of its own
    if grades:
        injured.add("any_injury")
    return Truth(anatomy="trauma", findings={f: int(f in injured) for f in TRAUMA}, details=details, look_alikes=look_alikes)


def written(truth: Truth, style: str, seed: int = 0) -> str:
    return report_text(truth.anatomy, truth, rng=np.random.default_rng(seed), style=style)


def findings_of(text: str) -> str:
    """Cut off what the referring doctor asked and how the scan was made; join wrapped lines."""
    first = ("Clinical information", "INDICATION", "Reason for study", "Clinical details", "Technique", "TECHNIQUE")
    unwrapped = re.sub(r"(?<=\S)\n(?=\S)", " ", text) if "\n\n" in text and "FINDINGS" not in text else text
    return "\n".join(line for line in unwrapped.splitlines() if not line.startswith((*first, "Procedure", "Protocol")))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("finding", [f for f in WORDS if f in CHEST])
def test_every_present_chest_finding_is_stated_without_a_denial_in_every_style(style: str, finding: str) -> None:
    for seed in range(15):
        text = findings_of(written(chest(finding), style, seed))
        sentences = [s for s in re.split(r"(?<=[.;\n])\s+", text.lower()) if re.search(WORDS[finding], s)]
        denial = r"\bno\b|\bnot\b|negative for|nothing to suggest|excluded|neither|resolved|normal"
        assert any(not re.search(denial, s) for s in sentences), text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("grade", [1, 2, 3, 4, 5])
def test_a_stated_grade_is_the_grade_of_the_truth(style: str, grade: int) -> None:
    roman = ("I", "II", "III", "IV", "V")[grade - 1]
    stated = 0
    for seed in range(20):
        text = findings_of(written(trauma(liver=grade), style, seed))
        found = re.findall(r"(?:grade (?:of )?|AAST (?:grade )?)(I{1,3}|IV|V|[1-5])\b", text, flags=re.IGNORECASE)
        assert set(found) <= {roman, str(grade)}, text
        stated += bool(found)
        assert re.search(WORDS["liver_low"], text, flags=re.IGNORECASE)
    assert stated >= 10


def test_a_high_grade_is_never_left_out() -> None:
    for structure in ("liver", "spleen", "kidney"):
        for seed in range(40):
            assert re.search(r"\b(IV|4)\b", written(trauma(**{structure: 4}), "prose", seed))


@pytest.mark.parametrize("style", STYLES)
def test_every_injury_of_a_trauma_scan_is_named(style: str) -> None:
    truth = trauma(liver=2, spleen=5, kidney=3, bowel=1, extravasation=1)
    for seed in range(20):
        text = findings_of(written(truth, style, seed))
        for finding in present_and_absent(truth)[0]:
            assert re.search(WORDS[finding], text, flags=re.IGNORECASE), (finding, text)


@pytest.mark.parametrize("style", STYLES)
def test_an_absent_chest_finding_is_never_stated(style: str) -> None:
    stating = {
        finding: {s for key in ("present", "british", "short", "unchanged") for s in words.get(key, ()) if "{" not in s}
        for finding, words in PHRASES["chest"]["findings"].items()
    }
    truth = chest("consolidation")
    for seed in range(60):
        text = findings_of(written(truth, style, seed)).lower()
        for finding in present_and_absent(truth)[1]:
            for sentence in stating[finding]:
                bare = re.escape(sentence.lower().rstrip("."))
                assert not re.search(rf"(^|[.;:]\s|[-•*]\s|\n){bare}[.;\n]", text), (sentence, text)


@pytest.mark.parametrize("style", STYLES)
def test_an_injured_structure_is_never_denied(style: str) -> None:
    truth = trauma(liver=2, spleen=5, kidney=3, bowel=1, extravasation=1)
    nouns = [
        n for s in ("liver", "spleen", "kidney", "bowel", "extravasation") for n in PHRASES["trauma"]["findings"][s]["nouns"]
    ]
    denial = r"\bno\b|\bnot\b|negative for|nothing to suggest|excluded|neither|intact|unremarkable"
    for seed in range(60):
        for sentence in re.split(r"(?<=[.;\n])\s+", findings_of(written(truth, style, seed)).lower()):
            assert not (re.search(denial, sentence) and any(noun in sentence for noun in nouns)), sentence


@pytest.mark.parametrize("style", STYLES)
def test_look_alikes_are_named_where_they_are(style: str) -> None:
    for seed in range(20):
        text = written(chest(look_alikes=("calcified_granuloma_liver", "ascites")), style, seed)
        assert re.search("granuloma.{0,20}|liver.{0,40}granuloma", text, flags=re.IGNORECASE | re.DOTALL)
        assert re.search(r"ascites|fluid", text, flags=re.IGNORECASE)
        assert re.search("pancrea", written(trauma(look_alikes=("pancreatic_cyst",)), style, seed), flags=re.IGNORECASE)


def test_a_whole_region_is_called_normal_only_when_all_its_findings_are_absent() -> None:
    for style in STYLES:
        for seed in range(60):
            text = findings_of(written(trauma(spleen=2), style, seed)).lower()
            assert "no solid organ" not in text
            assert "no solid visceral" not in text
            assert "liver and spleen" not in text
            assert not re.search(r"spleen: (unremarkable|normal|no abnormality)", text)
            assert "lungs are clear" not in written(chest("lung_nodule"), style, seed).lower()


def test_reports_vary_and_yet_repeat_with_their_seed() -> None:
    truth = chest("pleural_effusion", "emphysema")
    assert written(truth, "prose", 3) == written(truth, "prose", 3)
    assert len({written(truth, style, seed) for style in STYLES for seed in range(40)}) > 190


def test_reports_use_denials_of_many_shapes_group_statements_and_earlier_examinations() -> None:
    texts = "\n".join(findings_of(written(chest(), style, seed)) for style in STYLES for seed in range(80)).lower()
    for shape in ("no evidence of", "was not observed", "negative for", "lungs are clear", "i see no", "resolved", "neither"):
        assert shape in texts


def test_the_held_out_style_shares_no_statement_of_a_finding_with_the_others() -> None:
    for phrases in PHRASES.values():
        for words in phrases["findings"].values():
            assert not set(words.get("british", ())) & set(words.get("present", ()))
        for words in (*phrases["normals"], *phrases["look_alikes"].values()):
            assert not set(words["british"]) & set(words["text"])


@pytest.mark.parametrize("anatomy", ["chest", "trauma"])
def test_every_finding_can_be_said_without_details_and_every_look_alike_has_words(anatomy: str) -> None:
    phrases = PHRASES[anatomy]
    assert set(phrases["look_alikes"]) == set(LOOK_ALIKES[anatomy])
    bare = {"bowel_injury", "extravasation_injury", "lung_nodule"} | set(CHEST)
    for finding, words in phrases["findings"].items():
        for key in ("present", "british", "short"):
            if key in words and finding in bare and key != "short":
                assert any("{" not in s for s in words[key]), (finding, key)
        assert words["region"] in phrases["regions"]


def test_an_unknown_style_or_the_wrong_anatomy_is_refused() -> None:
    with pytest.raises(ValueError, match="style is 'dictated'"):
        written(chest(), "dictated")
    with pytest.raises(ValueError, match="describes a chest scan"):
        report_text("trauma", chest(), rng=np.random.default_rng(0), style="prose")
