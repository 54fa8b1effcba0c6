"""Drawing: figures whose colours are roles, written as SVG for the page and PNG for MLflow.

In the SVG the colours become CSS variables of the page, so one drawing is right on a light and on a
dark screen; in the PNG they are the light palette's.
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
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Role -> colour of the light palette. In the SVG each exact colour stands for var(--role).
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
    "svg.hashsalt": "tagsage",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Picture:
    """A drawn figure with its words.

    Attributes
    ----------
    name : str
        File name without suffix.
    title : str
        What it shows, as a heading.
    alt : str
        The same in a sentence with its main numbers, for those who do not see it.
    make : callable
        Draws it anew on a figure of its own: laying out the PNG must not move the SVG.
    """

    name: str
    title: str
    alt: str
    make: Callable[[], Figure]

    def svg(self) -> str:
        """Return the picture as an ``<svg>`` element that takes its colours from the page.

        Returns
        -------
        str
            The element: no prolog, no metadata, no address, ids unique to this picture.
        """
        figure = self.make()
        FigureCanvasSVG(figure)
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with mpl.rc_context(STYLE), _quiet_glyphs():
            figure.savefig(text, format="svg", transparent=True, metadata=metadata)
        return _inline(text.getvalue(), self.name, self.alt)

    def save_png(self, folder: Path) -> Path:
        """Write the picture as a PNG file, with its title, on white."""
        figure = self.make()
        FigureCanvasAgg(figure)
        file = folder / f"{self.name}.png"
        with mpl.rc_context(STYLE), _quiet_glyphs():
            figure.suptitle(self.title, fontsize=FONT_SIZE + 1)
            figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
        return file


def draw_picture(
    name: str,
    title: str,
    alt: str,
    draw: Callable[[Axes], None],
    *,
    size: tuple[float, float] = SIZE,
    empty: bool = False,
) -> Picture:
    """Draw on a figure of its own: no state of pyplot, nothing left open.

    Parameters
    ----------
    name, title, alt : str
        The picture's words; see :class:`Picture`.
    draw : callable
        Draws on the axes it is given.
    size : tuple of float
        Width and height in inches.
    empty : bool
        There is nothing to draw: the words of `alt` stand in its place.

    Returns
    -------
    Picture
        The drawing.
    """

    def make() -> Figure:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=size)
            axes = figure.add_subplot()
            if empty:
                axes.set_axis_off()
                axes.text(0.5, 0.5, alt, ha="center", va="center", color=ROLES["muted"], wrap=True)
            else:
                draw(axes)
        return figure

    return Picture(name, title, alt, make)


def save_pictures(pictures: Sequence[Picture], folder: Path) -> dict[str, Path]:
    """Write pictures as PNG files; return them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return {picture.name: picture.save_png(folder) for picture in pictures}


def show_thousands(axis: Axis) -> None:
    """Write the numbers of an axis plainly, with commas: 1,000 instead of powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def shorten(text: str, limit: int) -> str:
    """Cut a text for a label to at most `limit` characters, an ellipsis at the end."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@contextmanager
def _quiet_glyphs() -> Generator[None, None, None]:
    """Draw a box for a character that the font lacks, such as an emoji in a tag, silently."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _inline(svg: str, name: str, alt: str) -> str:
    """Make matplotlib's SVG file an element that lives in a page with others."""
    opening, _, rest = svg[svg.index("<svg") :].partition(">")
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    for noise in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<style.*?</style>"):
        rest = re.sub(noise, "", rest, flags=re.DOTALL)
    rest = re.sub(r' d="[^"]*"', _short_path, rest)
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = rest.replace("url(#", f"url(#{name}-")
    rest = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', rest)
    for role, colour in ROLES.items():
        rest = rest.replace(colour, f"var(--{role})")
    rest = rest.replace("font-family: 'DejaVu Sans'", "font-family: var(--sans)")
    rest = re.sub(r"\n\s*", "\n", rest)
    box = view_box.group(1) if view_box else "0 0 1 1"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(alt)}" focusable="false">{rest}'


def _short_path(path: re.Match[str]) -> str:
    """Round the coordinates of a path to hundredths: a word cloud is half the size then."""
    rounded = re.sub(r"(\d+\.\d\d)\d+", r"\1", path.group())
    return re.sub(r"\s+", " ", rounded)
