"""Pieces of image files are counted without decoding."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from v2l.errors import V2LError
from v2l.images import EncodedImage, load_image
from v2l.pieces import MOST_PIECES, gif_blocks, has_too_many_pieces, jpeg_segments, png_chunks

MANY = MOST_PIECES + 1


def picture(form: str) -> bytes:
    """A small picture."""
    content = BytesIO()
    Image.effect_noise((64, 64), 50).save(content, form)
    return content.getvalue()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(count: int) -> bytes:
    """A PNG with chunks that nobody knows, after its head."""
    content = picture("PNG")
    return content[:33] + chunk(b"teSt") * count + content[33:]


def with_segments(segment: bytes) -> bytes:
    """A JPEG with segments after its start."""
    content = picture("JPEG")
    return content[:2] + segment + content[2:]


def with_blocks(blocks: bytes) -> bytes:
    """A GIF with blocks before its picture."""
    content = picture("GIF")
    place = 13 + 3 * 256  # after the head and the table of colours
    return content[:place] + blocks + content[place:]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_has_few(form: str) -> None:
    content = picture(form)
    assert not has_too_many_pieces(content)
    assert load_image(EncodedImage("it", content, 10_000)).shape == (3, 64, 64)


def test_they_are_counted() -> None:
    assert len(list(png_chunks(with_chunks(7)))) == len(list(png_chunks(picture("PNG")))) + 7
    before = len(list(jpeg_segments(picture("JPEG"))))
    assert len(list(jpeg_segments(with_segments(b"\xff\xfe\x00\x03a\xff")))) == before + 2
    assert (
        len(list(gif_blocks(with_blocks(b"!\xfe\x01a\x01b\x00"))))
        == len(list(gif_blocks(picture("GIF")))) + 3
    )


@pytest.mark.parametrize(
    "content",
    [
        with_chunks(MANY),
        with_segments(b"\xff\xfe\x00\x02" * MANY),
        with_segments(b"\xff" * MANY),
        with_segments(b"\xff\xe1\x00\x09Exif\x00\x00a" * MANY),
        with_blocks(b"!\xfe\x00" * MANY),
        with_blocks(b"!\xfe" + b"\x01a" * MANY + b"\x00"),
    ],
    ids=["chunks", "comments", "fill", "exif", "blocks", "comment"],
)
def test_a_file_of_very_many_is_refused_unread(content: bytes) -> None:
    with pytest.raises(V2LError, match="it has more than 5,000 pieces"):
        load_image(EncodedImage("it", content, 10_000))


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a"])
def test_what_is_cut_off_ends_the_count(start: bytes) -> None:
    for end in (b"", b"\xff", b"!", b"\xff" * 12, bytes(20)):
        assert not has_too_many_pieces(start + end)
