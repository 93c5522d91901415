"""Pages are self-contained, escape what they are given, and come out the same each time."""

from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np

from espalier.page import figure_svg, page, paragraph, section, slice_png, table

mpl.use("agg")


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href"} and tag != "use"]


def drawn() -> str:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    return figure_svg(figure, caption="a line")


def test_a_page_names_no_outside_address() -> None:
    hu = np.zeros((4, 5), dtype=np.float32)
    html = page("Title", section("One", drawn(), slice_png(hu, window_hu=(-100, 100), caption="a slice")))
    links = Links()
    links.feed(html)
    assert [link for link in links.found if not link.startswith(("data:", "#"))] == []


def test_text_is_escaped_everywhere() -> None:
    html = page("<b>", section("<i>", paragraph("<script>"), table(["<th>"], [["<td>"]])))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;td&gt;" in html


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert drawn() == drawn()


def test_masks_are_drawn_over_the_slice_in_colour() -> None:
    hu = np.zeros((4, 4), dtype=np.float32)
    masks = np.zeros((4, 4), dtype=np.uint8)
    plain = slice_png(hu, window_hu=(-100, 100))
    assert plain == slice_png(hu, window_hu=(-100, 100), masks=masks)
    masks[1, 1] = 1
    assert plain != slice_png(hu, window_hu=(-100, 100), masks=masks)
