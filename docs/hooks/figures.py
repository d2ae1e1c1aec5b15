"""a picture of figures/*.svg ──► its SVG inside the page, so that it takes the page's colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[1] / "figures"
PICTURE = re.compile(r'<img [^>]*?src="[^"]*figures/(?P<name>[\w-]+)\.svg"[^>]*>')


def on_page_content(html: str, **_: Any) -> str:
    """Replace each picture; its title is in the SVG itself."""
    return PICTURE.sub(lambda found: read_figure(found["name"]), html)


def read_figure(name: str) -> str:
    """The SVG element of a figure."""
    text = (FIGURES / f"{name}.svg").read_text(encoding="utf-8")
    return f'<span class="figure" tabindex="0" data-search-exclude>{text[text.index("<svg") :]}</span>'
