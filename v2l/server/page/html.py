"""words, figures and pictures ──► HTML of the page; every text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from torch import Tensor

from v2l.images import encode_image


class Bar(NamedTuple):
    """One row of a bar chart.

    Attributes:
        name: left of the bar.
        share: the bar's length, in [0, 1].
        value: right of the bar.
    """

    name: str
    share: float
    value: str


def bars(rows: Sequence[Bar]) -> str:
    """A list of names, each with a bar and its value."""
    items = "".join(
        f'<li><span class="name">{escape(row.name)}</span>'
        f'<span class="track" aria-hidden="true">'
        f'<span style="width:{100 * min(max(row.share, 0.0), 1.0):.1f}%"></span></span>'
        f'<span class="value">{escape(row.value)}</span></li>'
        for row in rows
    )
    return f'<ol class="bars">{items}</ol>'


def figure(image: Tensor, alt: str, caption: str = "") -> str:
    """An image (3, H, W) in [0, 1] inside the HTML itself, with a text for those who do not see it."""
    encoded = b64encode(encode_image(image, format="JPEG", quality=90)).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/jpeg;base64,{encoded}" alt="{escape(alt)}">{below}</figure>'


def paragraph(text: str, kind: str = "plain") -> str:
    """A paragraph; `kind` is its class: plain, hint, note or answer."""
    return f'<p class="{kind}">{escape(text)}</p>'


def result(*parts: str) -> str:
    """Parts of one result; screen readers announce it when it changes."""
    return f'<div class="result" role="status">{"".join(parts)}</div>'
