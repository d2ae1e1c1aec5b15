"""HTML of the page: escaped, with a text for every picture."""

from __future__ import annotations

from base64 import b64decode

import torch

from v2l.images import decode_image
from v2l.server.page.html import Bar, bars, before_after, data_url, figure, paragraph, result


def test_every_text_is_escaped():
    evil = '<img src=x onerror="alert(1)">'
    made = result(bars([Bar(evil, 0.5, evil)]), paragraph(evil), figure(torch.zeros(3, 4, 4), evil, evil))
    assert "<img src=x" not in made
    assert made.count("&lt;img") == 5


def test_a_bar_is_as_long_as_its_share_and_never_longer_than_its_track():
    assert "width:79.0%" in bars([Bar("boot", 0.79, "0.79")])
    assert "width:100.0%" in bars([Bar("boot", 1.2, "1.20")])
    assert "width:0.0%" in bars([Bar("boot", -0.2, "-0.20")])


def test_a_figure_holds_its_picture_and_a_text_for_it():
    made = figure(torch.zeros(3, 4, 4), "A boot", "Boot")
    assert 'src="data:image/jpeg;base64,' in made
    assert 'alt="A boot"' in made
    assert "<figcaption>Boot</figcaption>" in made


def test_two_pictures_share_a_slider_with_a_label():
    made = before_after(torch.zeros(3, 4, 4), torch.ones(3, 4, 4), "reconstruction")
    assert made.count("<img") == made.count('alt="The ') == 2
    assert 'aria-label="How much of the photograph stands left of the reconstruction, in percent"' in made


def test_large_pictures_are_made_smaller_for_the_screen():
    encoded = data_url(torch.zeros(3, 100, 2560)).partition(",")[2]
    assert decode_image(b64decode(encoded)).shape == (3, 50, 1280)
