"""A token file gives back what was written, and nothing else passes for one."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
import torch

from v2l.errors import V2LError
from v2l.token_file import HEAD, TokenFile, code_bits, pack, unpack
from v2l.tokens import CodeStream


def a_file(size: int = 32_483, code: int | None = None) -> TokenFile:
    codes = torch.randint(size, (16, 20), generator=torch.Generator().manual_seed(0))
    codes[0, 0] = size - 1 if code is None else code
    streams = (CodeStream(codes, size), CodeStream(torch.arange(21)[None], 26_506))
    return TokenFile("v2l", "0123456789abcdef", (123, 160), "own", streams)


def sealed(body: bytes) -> bytes:
    """A file that is crafted, not damaged: its checksum is right."""
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize("size", [1, 2, 3, 1024, 32_483, 2**31])
def test_codes_of_any_codebook_come_back(size: int) -> None:
    codes = torch.randint(size, (5, 7), generator=torch.Generator().manual_seed(1))
    packed = pack(CodeStream(codes, size))
    assert len(packed) == -(-35 * code_bits(size) // 8)
    assert torch.equal(unpack(packed, size, 35).view(5, 7), codes)


def test_a_code_costs_the_logarithm_of_the_reachable_codes_rounded_up() -> None:
    assert [code_bits(size) for size in (2, 3, 1024, 1025, 32_483)] == [1, 2, 10, 11, 15]


def test_a_file_comes_back_whole(tmp_path: Path) -> None:
    written = a_file()
    size = written.write(tmp_path / "a.v2l")
    read = TokenFile.read(tmp_path / "a.v2l")
    assert size == (tmp_path / "a.v2l").stat().st_size
    assert (read.tokenizer, read.fingerprint, read.size, read.scale) == (
        written.tokenizer,
        written.fingerprint,
        written.size,
        written.scale,
    )
    for one, other in zip(read.streams, written.streams, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert one.size == other.size


def test_the_head_costs_less_than_sixty_bytes() -> None:
    assert len(a_file().to_bytes()) < 320 * 15 / 8 + 21 * 15 / 8 + 60


def test_equal_codes_are_compressed() -> None:
    flat = CodeStream(torch.full((100, 100), 7), 32_483)
    content = TokenFile("v2l", "0" * 16, (800, 800), "own", (flat,)).to_bytes()
    assert len(content) < 200
    assert torch.equal(TokenFile.from_bytes(content, "flat").streams[0].rows, flat.rows)


def test_every_flipped_byte_and_every_cut_is_found() -> None:
    content = a_file(300).to_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        with pytest.raises(V2LError):
            TokenFile.from_bytes(bytes(changed), "changed")
        with pytest.raises(V2LError):
            TokenFile.from_bytes(content[:place], "cut")


def test_another_file_is_refused_in_one_line() -> None:
    with pytest.raises(V2LError, match=r"photo\.jpg is no token file"):
        TokenFile.from_bytes(b"\xff\xd8\xff\xe0 a JPEG", "photo.jpg")
    with pytest.raises(V2LError, match="cannot read nowhere"):
        TokenFile.read("nowhere")


def test_a_code_outside_of_its_codebook_is_refused() -> None:
    with pytest.raises(V2LError, match=r"holds the code 300; allowed: 0 to 299"):
        TokenFile.from_bytes(a_file(300, code=300).to_bytes(), "crafted")


def test_a_newer_version_is_refused() -> None:
    body = bytearray(a_file().to_bytes()[:-4])
    body[4] = 2
    with pytest.raises(V2LError, match="format version 2"):
        TokenFile.from_bytes(sealed(bytes(body)), "newer")


@pytest.mark.parametrize("height", [0, 2**31])
def test_a_size_that_no_memory_holds_is_refused(height: int) -> None:
    body = bytearray(a_file().to_bytes()[:-4])
    body[14:18] = struct.pack("<I", height)
    with pytest.raises(V2LError, match="pixels"):
        TokenFile.from_bytes(sealed(bytes(body)), "crafted")


def test_heads_that_end_too_early_are_refused() -> None:
    body = a_file().to_bytes()
    for length in range(HEAD.size, HEAD.size + 24):
        with pytest.raises(V2LError):
            TokenFile.from_bytes(sealed(body[:length]), "short")


def test_what_unpacks_to_more_than_its_head_says_is_refused() -> None:
    flat = CodeStream(torch.full((10, 10), 7), 300)
    body = TokenFile("v2l", "0" * 16, (80, 80), "own", (flat,)).to_bytes()[:-4]
    head = body[: HEAD.size + 1 + 3 + 8]
    bomb = head + zlib.compress(bytes(10**6))
    with pytest.raises(V2LError, match="by its own head"):
        TokenFile.from_bytes(sealed(bomb), "bomb")
