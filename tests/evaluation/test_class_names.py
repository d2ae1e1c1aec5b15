"""The names of a class come from a WordNet id, else from folders, else there are none."""

from __future__ import annotations

from pathlib import Path

from v2l.evaluation.class_names import names_of_classes


def test_a_wordnet_id_gives_all_lemmas_of_its_synset() -> None:
    files = [
        Path("x/n02088364_beagle.jpg"),
        Path("n02097474/17.jpg"),
        Path("x/n02094114_Norfolk_terrier.jpg"),
    ]
    beagle, tibetan, norfolk = names_of_classes(files) or []
    assert beagle.names == ("beagle",)
    assert tibetan.names == ("Tibetan terrier", "chrysanthemum dog")
    assert norfolk.families == {"norfolkterrier"}
    assert norfolk.with_heads == {"norfolkterrier", "terrier"}


def test_folders_are_classes_if_there_are_several() -> None:
    files = [Path("a/grand_piano/1.jpg"), Path("a/hat/2.jpg")]
    assert [names.names for names in names_of_classes(files) or []] == [("grand piano",), ("hat",)]
    assert names_of_classes(files[:1]) is None


def test_an_unknown_id_is_no_class() -> None:
    assert names_of_classes([Path("x/n99999999_thing.jpg"), Path("x/n123_thing.jpg")]) is None
