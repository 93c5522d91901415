"""What tells one old encoding from another: letters and small words of the languages that were written in it."""

from dataclasses import dataclass
from typing import Final

ENCODINGS: Final = {
    "cp1252": "Windows-1252",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "mac_roman": "Mac Roman",
    "cp850": "DOS code page 850",
    "cp857": "DOS code page 857 (Turkish)",
    "cp852": "DOS code page 852 (Central European)",
}
"""Encodings of one byte a letter that spreadsheets write, the likelier first, with their names for people."""
WEST: Final = ("cp1252", "mac_roman", "cp850")
TURKISH: Final = ("cp1254", "cp857")
CENTRAL: Final = ("cp1250", "cp852")
SYMBOLS: Final = frozenset("\xa0\xad–—’‘“”„‚°µ±×÷²³¹·•…«»‹›€£§©®™¼½¾ªº´`¨†‡‰¿¡")
IN_WORDS: Final = frozenset("\xa0\xad–—’‘·´×±/")
"""Symbols that may stand between two letters."""
LONE: Final = frozenset("àâáåæéèêëíîóòôöøúùüůıœ")
"""Small letters that may stand alone as a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """A language: the encodings it is written in, its letters beyond a-z, and words of a-z that others hardly use."""

    encodings: tuple[str, ...]
    letters: str
    words: frozenset[str] = frozenset()

    @property
    def both(self) -> frozenset[str]:
        """Its letters, small and capital."""
        return frozenset(self.letters) | frozenset(self.letters.upper()) | (frozenset("İ") if "ı" in self.letters else set())


def _language(encodings: tuple[str, ...], letters: str, words: str = "") -> Language:
    return Language(encodings=encodings, letters=letters, words=frozenset(words.split()))


LANGUAGES: Final = (
    _language(WEST, "äöüß", "der die das und mit ohne kein keine nicht von im ist links rechts eine bei zu auch unauffällig"),
    _language(WEST, "àâæçéèêëîïôœùûüÿ", "le la les des du et est pas sans avec dans au aux une sur il droite gauche"),
    _language(WEST, "áéíóúüñ", "el la los las con sin se del por una se en derecho izquierdo hallazgos"),
    _language(WEST, "ãáâàçéêíóôõú", "com sem uma dos das em ao pulmonar direito esquerdo sinais"),
    _language(WEST, "àèéìòù", "il la di non con del della nel dei una si destra sinistra alterazioni"),
    _language(WEST, "éèëïöüáó", "het een van en met geen niet rechts zonder op aan"),
    _language(WEST, "æøåé", "og er ikke uden uten med som af av til det venstre"),
    _language(WEST, "åäöé", "och inte utan med som det ett av till ja ei on vasen oikea"),
    _language(WEST, "áéíóúýþæöð", "og er ekki sem til eru hafa vinstri engin"),
    _language(WEST, "àçèéíïòóúü", "el els les amb sense dels una dreta esquerra"),
    _language(
        TURKISH,
        "çğıöşüâîû",
        "ve bir yok ile olarak bu izlendi izlenmedi izlenmektedir mevcut her iki yoktur sol olan"
        " de da lezyon normaldir bulgu gibi",
    ),
    _language(CENTRAL, "ąćęłńóśźż", "jest bez nie po oraz przy zmian prawego lewego w z"),
    _language(CENTRAL, "áčďéěíňóřšťúůýž", "je bez na se ve jsou vlevo vpravo nejsou"),
    _language(CENTRAL, "áäčďéíĺľňóôŕšťúýž", "je bez na sa vo nie vpravo v pri"),
    _language(CENTRAL, "áéíóöőúüű", "az nem nincs jobb bal mindkét egy oldali"),
    _language(CENTRAL, "ăâîşţ", "si nu cu in fara din pe este sunt"),
    _language(CENTRAL, "čćđšž", "je bez na se nema su nije desno lijevo levo"),
    _language(("cp1251",), "абвгдежзийклмнопрстуфхцчшщъыьэюяё"),
    _language(("cp1251",), "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"),
    _language(("cp1251",), "абвгдђежзијклљмнњопрстћуфхцчџш"),
    _language(("cp1253",), "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"),
)
ENGLISH: Final = _language((), "éèêïöüñçàâôë", "the of and with no is are not in there was or to without right left for by")
"""English is written everywhere, so its words speak for no encoding; its loan words do."""
NON_LATIN: Final = frozenset({"cp1251", "cp1253"})
