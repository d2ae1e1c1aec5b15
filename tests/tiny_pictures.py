"""a number ──► a small photograph of noise, as the bytes of a file."""

from __future__ import annotations

import io
import tarfile

import numpy as np
from PIL import Image


def picture(number: int, suffix: str = "png") -> bytes:
    """A small photograph of noise; each number gives another."""
    pixels = np.random.default_rng(number).integers(0, 255, (12 + number % 5, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format={"jpg": "JPEG"}.get(suffix, suffix.upper()))
    return content.getvalue()


def add_to_tar(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
