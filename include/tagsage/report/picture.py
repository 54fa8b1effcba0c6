"""A picture of the report: drawn once, as SVG for the page and as PNG for MLflow.

The light palette's colours become the page's CSS variables, so it suits a dark screen, too.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# CSS variable -> colour of the light palette.
ROLES = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "rule": "#d9dee4",
    "accent": "#0f6e78",
    "accent-soft": "#9cc9cd",
}
FONT_SIZE = 9
SIZE = (4.0, 2.55)  # inches: text stays readable when the page scales it to a phone's width
DPI = 160
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "text.color": ROLES["ink"],
    "text.parse_math": False,  # a tag may hold dollar signs
    "axes.edgecolor": ROLES["rule"],
    "axes.labelcolor": ROLES["muted"],
    "axes.labelsize": FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": ROLES["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": ROLES["rule"],
    "ytick.color": ROLES["rule"],
    "xtick.labelcolor": ROLES["muted"],
    "ytick.labelcolor": ROLES["muted"],
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "tagsage",  # ids that are the same in every run
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Picture:
    """How to draw something, and its words."""

    name: str  # of a file, without suffix
    title: str
    alt: str  # the main numbers, or why there is nothing to draw
    draw: Callable[[Axes], None] | None
    size: tuple[float, float] = SIZE

    def figure(self) -> Figure:
        """Draw on a new figure, without pyplot's global state."""
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=self.size)
            axes = figure.add_subplot()
            if self.draw:
                self.draw(axes)
            else:
                axes.set_axis_off()
                centre: Any = {"ha": "center", "va": "center", "wrap": True}
                axes.text(0.5, 0.5, self.alt, color=ROLES["muted"], **centre)
        return figure

    def svg(self) -> str:
        """Return an ``<svg>`` element for a page, with ids that no other picture has."""
        text = io.StringIO()
        with _drawing():
            figure = self.figure()
            for part in (figure, *figure.findobj(Axes)):
                part.patch.set(facecolor="none", edgecolor="none")  # type: ignore[attr-defined]
            no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            # `savefig` would draw everything twice.
            canvas = FigureCanvasSVG(figure)
            canvas.print_svg(text, metadata=no_metadata)  # type: ignore[no-untyped-call]
        return _inline(text.getvalue(), self.name, self.alt)

    def save_png(self, folder: Path) -> Path:
        """Write ``<name>.png`` with the title, on white."""
        file = folder / f"{self.name}.png"
        with _drawing():
            figure = self.figure()
            figure.suptitle(self.title, fontsize=FONT_SIZE + 1)
            figure.set_dpi(DPI)
            canvas = FigureCanvasAgg(figure)
            canvas.print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return file


def save_pictures(pictures: Sequence[Picture], folder: Path) -> dict[str, Path]:
    """Write pictures as PNG files; return them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return {picture.name: picture.save_png(folder) for picture in pictures}


@contextmanager
def _drawing() -> Generator[None, None, None]:
    """Set the style; draw a box, silently, for a character that the font lacks."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _inline(svg: str, name: str, alt: str) -> str:
    """Make an element of matplotlib's SVG file that can stand in a page with others."""
    opening, _, rest = svg[svg.index("<svg") :].partition(">")
    box = re.search(r'viewBox="([^"]+)"', opening)
    rest = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", rest, flags=re.S)
    rest = rest.replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|url\(#|\bhref="#)', rf"\g<1>{name}-", rest)
    for role, colour in ROLES.items():
        rest = rest.replace(colour, f"var(--{role})")
    rest = rest.replace("'DejaVu Sans'", "var(--sans)")
    rest = re.sub(r"\n\s*", "\n", rest)
    view = box.group(1) if box else ""
    return f'<svg viewBox="{view}" role="img" aria-label="{escape(alt)}" focusable="false">{rest}'
