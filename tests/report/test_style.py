"""The page's colours: readable (WCAG 2.2 AA: 4.5 to 1) in the light and in the dark."""

import re

import pytest

from tagsage.report.html import TEMPLATES
from tagsage.report.picture import ROLES

STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")


def palette(theme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if theme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))
    return colours


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((text, ground) for text in ("ink", "muted", "accent") for ground in ("paper", "card")),
        ("ink", "wash"),
        ("on-accent", "accent"),
    ],
)
def test_text_stands_out_from_its_ground(theme, text, ground):
    colours = palette(theme)
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_page_defines_every_role_that_pictures_use_and_every_variable_it_uses():
    assert set(ROLES) <= set(palette("light"))
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE)) - {"share"}
    assert used <= set(re.findall(r"--([\w-]+):", STYLE))
