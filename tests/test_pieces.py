"""Pieces of image files are counted without decoding."""

from __future__ import annotations

import struct
import tracemalloc
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


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = BytesIO()
    Image.new("L", (64, 64), 128).save(content, "JPEG", progressive=True)
    whole = content.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def with_exif(tags: int) -> bytes:
    """A PNG whose EXIF block says that it is turned; each further tag is a copy of the whole block."""
    size = 8 + 2 + 12 * (tags + 1) + 4 + 200_000
    entries = b"".join(struct.pack("<HHII", 40_000 + tag, 7, size - 8, 8) for tag in range(tags))
    entries = struct.pack("<HHII", 274, 3, 1, 6) + entries
    block = b"II*\x00" + struct.pack("<IH", 8, tags + 1) + entries + bytes(4)
    block += bytes(size - len(block))
    content = picture("PNG")
    return content[:33] + chunk(b"eXIf", block) + content[33:]


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
        with_segments(b"\xff\xe1\x00\x09Exif\x00\x00a" * 3),
        with_scans(51),
        with_blocks(b"!\xfe\x00" * MANY),
        with_blocks(b"!\xfe" + b"\x01a" * MANY + b"\x00"),
    ],
    ids=["chunks", "comments", "fill", "exif", "scans", "blocks", "comment"],
)
def test_a_file_of_very_many_is_refused_unread(content: bytes) -> None:
    with pytest.raises(V2LError, match="it has more than 5,000 pieces"):
        load_image(EncodedImage("it", content, 10_000))


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a"])
def test_what_is_cut_off_ends_the_count(start: bytes) -> None:
    for end in (b"", b"\xff", b"!", b"\xff" * 12, bytes(20)):
        assert not has_too_many_pieces(start + end)


def test_scans_are_followed_to_the_end_of_the_picture_and_not_behind_it() -> None:
    assert not has_too_many_pieces(with_scans(10))
    assert not has_too_many_pieces(picture("JPEG") + b"\xff\xda" * 100)  # a film that a telephone puts there


def test_an_exif_block_of_many_copies_is_not_read() -> None:
    tracemalloc.start()
    try:
        load_image(EncodedImage("it", with_exif(2_000), 10_000))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
