"""words, figures and pictures ──► HTML of the page; every text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from torch import Tensor

from v2l.images import encode_image, resize

MOST_PIXELS_A_SIDE = 1280


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
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{data_url(image)}" alt="{escape(alt)}">{below}</figure>'


def before_after(before: Tensor, after: Tensor, name: str) -> str:
    """Two images (3, H, W) in [0, 1], one over the other, and a slider between them for mouse and keyboard.

    `gr.ImageSlider` cannot be moved by keyboard, and its pictures have no text.

    Args:
        before: left of the slider.
        after: right of the slider, of the same size.
        name: of what is on the right: "reconstruction".
    """
    move = "this.parentElement.style.setProperty('--split', this.value + '%')"
    label = f"How much of the photograph stands left of the {name}, in percent"
    slider = f'<input type="range" value="50" aria-label="{escape(label)}" oninput="{move}">'
    return (
        f'<div class="pair"><img src="{data_url(after)}" alt="The {escape(name)}">'
        f'<img class="left" src="{data_url(before)}" alt="The photograph">{slider}</div>'
    )


def data_url(image: Tensor) -> str:
    """An image (3, H, W) in [0, 1] as an address that holds it, `MOST_PIXELS_A_SIDE` a side at most."""
    scale = MOST_PIXELS_A_SIDE / max(image.shape[-2:])
    if scale < 1:
        image = resize(
            image, (max(1, round(image.shape[-2] * scale)), max(1, round(image.shape[-1] * scale)))
        )
    encoded = encode_image(image, format="JPEG", quality=95, subsampling=0)
    return f"data:image/jpeg;base64,{b64encode(encoded).decode('ascii')}"


def paragraph(text: str, kind: str = "plain") -> str:
    """A paragraph; `kind` is its class: plain, hint, note or answer."""
    return f'<p class="{kind}">{escape(text)}</p>'


def result(*parts: str) -> str:
    """Parts of one result; screen readers announce it when it changes."""
    return f'<div class="result" role="status">{"".join(parts)}</div>'
