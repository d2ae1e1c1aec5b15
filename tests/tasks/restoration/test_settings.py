"""Settings: the names of version 0.1 are accepted with a warning, and files keep them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from v2l.errors import V2LError
from v2l.tasks.restoration.settings import PRESETS, RENAMED, RestorationSettings, current_names, stored

# One value for each old name, different from the default.
OLD_VALUES = {"palette": 7, "trust": 2.5, "candidates": 3, "above": 2, "reading": "map"}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_sets_the_new_one_with_one_warning(old: str) -> None:
    value = OLD_VALUES[old]
    with pytest.warns(FutureWarning, match=f"{old} is called {RENAMED[old]} now") as warnings:
        settings = RestorationSettings(temperature=1.0, **{old: value})
    assert len(warnings) == 1
    assert settings == RestorationSettings(temperature=1.0, **{RENAMED[old]: value})


def test_the_warning_points_at_the_line_that_uses_the_old_name() -> None:
    with pytest.warns(FutureWarning) as warnings:
        RestorationSettings(palette=4)
    assert warnings[0].filename == __file__


def test_replace_accepts_an_old_name() -> None:
    with pytest.warns(FutureWarning, match="num_candidates"):
        settings = replace(RestorationSettings(), palette=9)
    assert settings.num_candidates == 9


def test_new_names_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    RestorationSettings(num_candidates=4, prior_weight=1.0, num_samples=1, n_above=1, scope="windows")
    assert not recwarn.list


def test_a_value_of_an_old_name_is_checked_as_well() -> None:
    with pytest.warns(FutureWarning), pytest.raises(V2LError, match="num_candidates"):
        RestorationSettings(palette=-1)


def test_every_old_name_has_a_field() -> None:
    assert set(RENAMED.values()) <= {field.name for field in fields(RestorationSettings)}
    assert OLD_VALUES.keys() == RENAMED.keys()


def test_every_old_name_gets_one_note_and_other_names_get_none() -> None:
    notes: list[str] = []
    assert current_names({"palette": 1, "n_context": 2}, notes.append) == {
        "n_context": 2,
        "num_candidates": 1,
    }
    assert len(notes) == 1


def test_files_keep_the_names_of_version_0_1() -> None:
    assert stored(RestorationSettings(num_candidates=5)).keys() == {
        *("n_context", "n_predict", "n_before", "above", "n_examples", "splits", "draws", "contrast"),
        *("order", "candidates", "seed", "temperature", "top_k", "prompt", "palette", "trust", "reading"),
        "batch_tokens",
    }


@pytest.mark.parametrize("name", PRESETS)
def test_stored_settings_give_the_same_settings_back(name: str) -> None:
    settings = RestorationSettings(**PRESETS[name])
    assert RestorationSettings(**current_names(stored(settings), lambda line: None)) == settings
    assert list(stored(settings).values()) == list(asdict(settings).values())
