"""A page shows every image with its label."""

from __future__ import annotations

import torch

from v2l.drawings import image_grid


def test_a_page_shows_every_image_and_every_label() -> None:
    red, blue = torch.zeros(3, 8, 8), torch.zeros(3, 4, 8)
    red[0], blue[2] = 1, 1
    bare = image_grid([[red, blue], [blue]], [["", ""], [""]], cell=40)
    page = image_grid(
        [[red, blue], [blue]], [["red", "a label that is far too long for one line"], ["blue"]], cell=40
    )
    assert page.shape[0] == 3
    assert page.shape[2] == bare.shape[2] == 8 + 2 * 48
    assert page.shape[1] > bare.shape[1], "labels take room below the images"
    assert all(
        (page == torch.tensor(colour).reshape(3, 1, 1)).all(dim=0).any()
        for colour in ([1.0, 0, 0], [0, 0, 1.0])
    )
    assert (page[:, 48:, :48].sum(dim=0) == 0).any(), "text is drawn in black below the red image"
    assert torch.equal(page[:, 8:48, 8:48], red[:, :1, :1].expand(3, 40, 40))
