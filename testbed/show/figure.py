"""The ground of SVG figures for light and dark pages."""

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

# Colours that people tell apart whatever their colour vision (Okabe and Ito, 2008), in a shade for each theme.
_LIGHT: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a66f00", "#56b4e9", "#59636e", "#1f2328")
_DARK: Final = ("#4aa8e0", "#ff8b3d", "#2fc79a", "#e59bc4", "#e6b450", "#8fd0f5", "#b1bac4", "#f0f6fc")
_STYLE: Final = """
text {{ font-family: ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 11px; }}
.title {{ font-size: 13px; font-weight: 600; text-anchor: middle; }}
.below {{ text-anchor: middle; }}
.beside {{ text-anchor: end; }}
polyline {{ fill: none; stroke-width: 1.6px; }}
.interval {{ stroke-width: 1.2px; }}
.page {{ fill: #ffffff; }}
.grid {{ stroke: #d1d9e0; }}
text {{ fill: #1f2328; }}
{light}
@media (prefers-color-scheme: dark) {{
.page {{ fill: #0d1117; }}
.grid {{ stroke: #3d444d; }}
text {{ fill: #f0f6fc; }}
{dark}
}}
"""


def figure(width: float, height: float) -> Element:
    """An empty figure, in pixels."""
    size = {"viewBox": f"0 0 {width:.0f} {height:.0f}", "width": f"{width:.0f}"}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})
    SubElement(svg, "style").text = _STYLE.format(light=_colours(_LIGHT), dark=_colours(_DARK))
    SubElement(svg, "rect", {"class": "page", "width": "100%", "height": "100%"})
    return svg


def text_of(svg: Element) -> str:
    """The content of a figure's file."""
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def colour(number: int) -> str:
    """The CSS class of the line with this number, from 0."""
    return f"c{number % len(_LIGHT)}"


def _colours(shades: Sequence[str]) -> str:
    return "\n".join(
        f".c{number} {{ stroke: {shade}; }} circle.c{number} {{ fill: {shade}; }}"
        for number, shade in enumerate(shades)
    )


def write(svg: Element, kind: str, x: float, y: float, text: str) -> None:
    """Write ``text`` in the style ``kind``."""
    SubElement(svg, "text", {"class": kind, "x": f"{x:.1f}", "y": f"{y:.1f}"}).text = text
