"""Pages for people: one self-contained HTML file, figures as SVG, slices as PNG, nothing from outside."""

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Shaped, UInt8

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2321;--quiet:#5b6663;--line:#d8dedb;--tint:#f3f6f4;--leaf:#2c6e49}
@media(prefers-color-scheme:dark){:root{
--paper:#141817;--ink:#e6ebe8;--quiet:#9aa6a1;
--line:#333b38;--tint:#1c2220;--leaf:#7fc79b}}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;border-top:1px solid var(--line);padding-top:1.2rem}
a{color:var(--leaf)}.quiet,figcaption{color:var(--quiet);font-size:.9rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}th,td{padding:.35rem .8rem .35rem 0;
text-align:left;border-bottom:1px solid var(--line);vertical-align:top}td.number,th.number{text-align:right}
figure{margin:1rem 0}figure svg,figure img{max-width:100%;height:auto;background:#fff;border-radius:6px}
.answer{background:var(--tint);border-left:4px solid var(--leaf);padding:.8rem 1rem;border-radius:4px;font-size:1.08rem}
.row{display:flex;flex-wrap:wrap;gap:1rem}.row figure{margin:0;
flex:1 1 14rem}pre{background:var(--tint);padding:.8rem;overflow-x:auto}
@media print{body{max-width:none}h2{break-after:avoid}figure,table{break-inside:avoid}}
"""


def page(title: str, *sections: str, style: str = "") -> str:
    """Return a whole HTML document; `sections` are HTML, `title` is text, `style` is CSS beyond what all pages share."""
    safe = html.escape(title)
    body = "\n".join(sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline';img-src data:\">"
        f"<title>{safe}</title><style>{STYLE}{style}</style></head>\n<body><main>\n<h1>{safe}</h1>\n{body}\n</main></body></html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return a section with its heading (text) and its parts (HTML)."""
    return f"<section><h2>{html.escape(heading)}</h2>\n" + "\n".join(parts) + "</section>"


def paragraph(text: str, *, look: str = "") -> str:
    """Return a paragraph of text; `look` is one of the classes of the style sheet (`answer`, `quiet`)."""
    return f'<p class="{look}">{html.escape(text)}</p>' if look else f"<p>{html.escape(text)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """Return a table; numbers stand to the right, everything is escaped."""
    head = "".join(f'<th scope="col"{_numeric(rows, i)}>{html.escape(c)}</th>' for i, c in enumerate(columns))
    lines = ["".join(f"<td{_numeric(rows, i)}>{html.escape(str(cell))}</td>" for i, cell in enumerate(row)) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f"<caption class='quiet'>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _numeric(rows: Sequence[Sequence[object]], column: int) -> str:
    cells = [str(row[column]) for row in rows]
    return ' class="number"' if cells and all(c[:1] in "+-−0123456789–" and c for c in cells) else ""


def figure_svg(figure: "Figure", *, caption: str) -> str:
    """Return a matplotlib figure as inline SVG with its caption; equal figures give equal bytes."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "espalier", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    # matplotlib numbers its ids from one in every figure; on one page they would clash.
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", svg)
    drawing = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(caption, quote=True)}" ', 1)
    return f"<figure>{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>"


def slice_png(
    hu: Float[np.ndarray, "y x"],
    *,
    window_hu: tuple[float, float],
    masks: Shaped[np.ndarray, "y x"] | None = None,
    caption: str = "",
    zoom: int = 3,
) -> str:
    """Return one slice as an inline PNG with its caption, the masks (0 = none) drawn over it in colour.

    Parameters
    ----------
    hu
        The slice in HU; rows run to the patient's back, columns to the patient's left.
    window_hu
        HU shown black and white.
    masks
        Structure numbers on the same grid.
    caption
        Text under the picture.
    zoom
        Screen pixels for each voxel.
    """
    import matplotlib.image
    from matplotlib import colormaps

    low, high = window_hu
    grey = np.clip((np.asarray(hu, dtype=np.float32) - low) / (high - low), 0, 1)
    colours = np.repeat(grey[..., None], 3, axis=2)
    if masks is not None:
        palette = colormaps["tab10"](np.arange(10))[:, :3]
        inside = masks > 0
        colours[inside] = 0.6 * colours[inside] + 0.4 * palette[(masks[inside] - 1) % 10]
    stream = io.BytesIO()
    matplotlib.image.imsave(stream, np.kron(colours, np.ones((zoom, zoom, 1))), format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(caption, quote=True)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def grey_png(grey: UInt8[np.ndarray, "y x"], *, caption: str = "") -> str:
    """Return a small grey picture as an inline PNG with its caption, one pixel for each value; the page scales it."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, format="png", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(caption, quote=True)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
