"""The colours of maps, for light and dark paper: eight categories, a scale of seven steps, greys. Knows no points.

Found by random search for the eight that stay furthest apart, in OKLab (Ottosson 2020), for normal sight and for the
three kinds of colour blindness as simulated by Machado, Oliveira and Fernandes 2009, each with a contrast of 3 to 1 or
more to the paper (WCAG 2.2, 1.4.11). The tests hold them to that. Beyond eight the shape changes.
"""

from typing import TypedDict


class Palette(TypedDict):
    """Colours on one paper, `plot`: `categories` in order of use, `scale` from low to high, what is rare or absent."""

    plot: str
    categories: list[str]
    scale: list[str]
    other: str
    none: str


PALETTES: dict[str, Palette] = {
    "light": {
        "plot": "#f7f7f5",
        "categories": ["#2751cd", "#e06a11", "#309e88", "#8b3b7c", "#a07aec", "#515820", "#5e0819", "#1c067c"],
        "scale": ["#be8112", "#828013", "#2f7a26", "#006351", "#084a53", "#013351", "#14065f"],
        "other": "#7d7d78",
        "none": "#7d7d78",
    },
    "dark": {
        "plot": "#1e1e20",
        "categories": ["#45a9fd", "#fde09e", "#95d503", "#f57ea4", "#64f8fe", "#ac4b6d", "#8c8e37", "#525ece"],
        "scale": ["#6263bf", "#2e89d3", "#01aac6", "#05c8b4", "#7adc91", "#d1e574", "#ffedc7"],
        "other": "#8a8a8e",
        "none": "#8a8a8e",
    },
}
