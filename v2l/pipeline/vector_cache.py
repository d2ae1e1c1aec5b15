"""image files ──► their vectors in the joint space, kept in the user's cache by the files' content.

The key is the encoder's fingerprint with the sha256 of the file's bytes: a copy under another name is found,
a changed file is not.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.sources import ImageFile, image_bytes
from v2l.visibility import Visibility, measure_visibility
from v2l.zoo import cache_home

TABLE = (
    "CREATE TABLE IF NOT EXISTS vectors "
    "(encoder TEXT, image BLOB, vector BLOB, PRIMARY KEY (encoder, image)) WITHOUT ROWID"
)
WAIT = 60  # seconds for another process that writes


@dataclass(frozen=True)
class VectorStore:
    """Vectors on disk; several processes may read and write at once.

    Attributes:
        encoder: fingerprint of the encoder whose vectors are meant.
        path: the file; None is the one in the user's cache.
    """

    encoder: str
    path: Path | None = None

    def find(self, digests: Iterable[bytes]) -> dict[bytes, Tensor]:
        """The vectors (D,) float32 of those images that are kept.

        Raises:
            V2LError: the file is damaged or cannot be read.
        """
        found = {}
        with self._open() as database:
            for digest in digests:
                row = database.execute(
                    "SELECT vector FROM vectors WHERE encoder = ? AND image = ?", (self.encoder, digest)
                ).fetchone()
                if row is not None:
                    found[digest] = torch.from_numpy(np.frombuffer(row[0], dtype="<f4").copy())
        return found

    def keep(self, vectors: Mapping[bytes, Tensor]) -> None:
        """Keep vectors (D,) float32 by the digests of their images, all or none.

        Raises:
            V2LError: the file is damaged or cannot be written.
        """
        rows = [
            (self.encoder, digest, vector.numpy().astype("<f4").tobytes())
            for digest, vector in vectors.items()
        ]
        with self._open() as database, database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        path = self.path or cache_home() / "vectors.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=WAIT)) as database:
                database.execute(TABLE)
                yield database
        except (OSError, sqlite3.Error) as error:
            raise V2LError(
                f"the vectors kept in {path} cannot be used ({error})",
                "a file that v2l wrote, in a place that can be written",
                f"rm {path}, or V2L_HOME=another folder",
            ) from error


def digest_of(file: ImageFile) -> bytes:
    """sha256 of an image file's bytes.

    Raises:
        V2LError: it cannot be read.
    """
    try:
        return hashlib.sha256(image_bytes(file)).digest()
    except OSError as error:
        raise V2LError(f"cannot read {file} ({error.strerror})", "an image file") from error


def encode_files(encoder: JointEncoder, files: Sequence[ImageFile]) -> tuple[Tensor, list[Visibility]]:
    """Encode image files of any sizes together, and measure what there is to see in each.

    Returns:
        vectors (B, D) float32 of unit length on the CPU, and one measurement for each file.

    Raises:
        V2LError: a file is no readable image.
    """
    views, measured = [], []
    for file in files:
        image = load_image(file)
        views.append(encoder.prepare(image))
        measured.append(measure_visibility(image, views[-1]))
    return encoder.encode_images(torch.stack(views)).cpu(), measured
