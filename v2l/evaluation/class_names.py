"""image files ──► the names of their classes, from the file's name or its folder.

A WordNet id ("n02088364_beagle.jpg", or a folder of that name) gives all lemmas of its synset. Otherwise the
folder is the class, if the images lie in several folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from v2l.codebook.lexicon import synset_lemmas
from v2l.codebook.variety import family
from v2l.datasets import class_name
from v2l.sources import ImageFile

WORDNET_ID = re.compile(r"n\d{8}(?!\d)")


@dataclass(frozen=True)
class ClassNames:
    """The names of one image's class.

    Attributes:
        names: lemmas of its synset, or its folder's name; never empty.
    """

    names: tuple[str, ...]

    @property
    def families(self) -> frozenset[str]:
        """The families of the names: "Norfolk terrier"."""
        return frozenset(map(family, self.names))

    @property
    def with_heads(self) -> frozenset[str]:
        """The families of the names and of their head nouns: "Norfolk terrier", "terrier"."""
        return self.families | {family(name.split()[-1]) for name in self.names}


def names_of_classes(files: Sequence[ImageFile]) -> list[ClassNames] | None:
    """The names of each image's class; None when the images state no classes."""
    found = [_synset(file) for file in files]
    if all(found):
        return [names for names in found if names is not None]
    if len({file.parent.name for file in files}) < 2:
        return None
    return [
        names or ClassNames((class_name(file.parent.name),)) for names, file in zip(found, files, strict=True)
    ]


def wordnet_id(file: ImageFile) -> str | None:
    """The WordNet id at the beginning of a file's name or of its folder's name; None without one."""
    match = WORDNET_ID.match(file.name) or WORDNET_ID.match(file.parent.name)
    return match.group() if match else None


def _synset(file: ImageFile) -> ClassNames | None:
    """The names of a file with a WordNet id that ImageNet-21k has."""
    number = wordnet_id(file)
    lemmas = synset_lemmas(number) if number else ()
    if not lemmas:
        return None
    return ClassNames(lemmas)
