"""The word cloud of the target tags, laid out by the wordcloud library and drawn as outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from wordcloud import WordCloud

from tagsage.report.picture import ROLES, Picture, draw_picture

WIDTH, HEIGHT = 900, 420
MAX_WORDS = 90
FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
# The frequent third stands out; the rest recedes.
SHADES = ("accent", "ink", "muted")
SCALE = 100  # outlines are taken at this size and scaled: small ones would be hinted to the grid


def word_cloud(tag_articles: Sequence[tuple[str, int]], *, seed: int) -> Picture:
    """Draw the target tags, larger the more articles have them.

    Parameters
    ----------
    tag_articles : sequence of (str, int)
        Tags with their numbers of articles, most frequent first.
    seed : int
        Seed of the layout.

    Returns
    -------
    Picture
        Words as outlines, so that it looks the same with any font.
    """
    words = {tag: count for tag, count in tag_articles[:MAX_WORDS] if count > 0 and tag.strip()}
    most = ", ".join(f"{_short(tag)} ({count:,})" for tag, count in list(words.items())[:3])
    alt = (
        f"Word cloud of {len(words)} target tags; the most frequent are {most}."
        if words
        else "No target tag."
    )

    def draw(axes: Axes) -> None:
        cloud = WordCloud(
            width=WIDTH,
            height=HEIGHT,
            font_path=str(FONT),
            prefer_horizontal=1.0,
            relative_scaling=0.45,
            min_font_size=12,
            margin=4,
            max_words=MAX_WORDS,
            random_state=seed,
        ).generate_from_frequencies({_short(tag): count for tag, count in words.items()})
        font = FontProperties(fname=str(FONT))
        n = max(len(cloud.layout_), 1)
        for rank, ((word, _), size, (y, x), _, _) in enumerate(cloud.layout_):
            outline = TextPath((0, 0), word, size=SCALE, prop=font)
            # The layout gives the left end of the word and the top of its ink, y downwards.
            top = outline.get_extents().y1
            scale = size / SCALE
            place = Affine2D().translate(0, -top).scale(scale, -scale).translate(x, y)
            colour = ROLES[SHADES[min(rank * 3 // n, 2)]]
            axes.add_patch(PathPatch(outline.transformed(place), facecolor=colour, linewidth=0))
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="equal")
        axes.set_axis_off()

    size = (9.0, 9.0 * HEIGHT / WIDTH)
    return draw_picture("word_cloud", "Target tags", alt, draw, size=size, empty=not words)


def _short(tag: str) -> str:
    return tag if len(tag) <= 40 else f"{tag[:39]}…"
