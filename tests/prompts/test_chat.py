"""A turn of a chat: texts and images in their order."""

from __future__ import annotations

from v2l.prompts.chat import ShownImage, turn_text


def test_an_image_is_a_line_in_its_place() -> None:
    parts = ["Compare", ShownImage(1, ("boot", "shoe")), "with", ShownImage(2, ("hat",))]
    assert turn_text(parts) == "Compare\n(Image 1 shows: boot, shoe)\nwith\n(Image 2 shows: hat)"
