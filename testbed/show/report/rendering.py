"""Pages from templates, which escape everything that is put into them."""

import base64
import hashlib
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from testbed.core.errors import SpecError
from testbed.core.units import readable

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render(template: str, title: str, **context: object) -> str:
    """A page that contains its style and its script, the only script that can run there."""
    style, script = (Markup((_TEMPLATES / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = {"title": title, "style": style, "script": script, "script_hash": f"sha256-{digest}"}
    return _environment().get_template(template).render(**page, **context)


def write_page(path: Path, page: str) -> None:
    """Write a page; raises SpecError if it cannot be written."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SpecError.of(path, f"cannot be written: {error.strerror}") from None


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"zip": zip}
    environment.filters |= {"quantity": quantity, "moment": moment}
    return environment


def quantity(value: float | None, unit: str) -> str:
    """``value`` for people, with the unit; "–" for None."""
    if value is None:
        return "–"
    return readable(value, unit) if value or not unit else f"0 {unit}"


def moment(t: float | None) -> str:
    """A time of play for people, in seconds; "–" for None."""
    return "–" if t is None else f"{t:.2f} s"
