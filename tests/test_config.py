"""Settings: what differs is read, everything is checked, and a mistake is one line that names the key."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from v2l import config as config_module
from v2l.config import SECTIONS, Config, config_from_dict, config_to_dict, load_config, preset_names
from v2l.errors import V2LError
from v2l.tokenizers.grid.model import SHIPPED

FIELDS = [(section, item) for section, kind in SECTIONS.items() for item in dataclasses.fields(kind)]
NUMBERS = [(section, item) for section, item in FIELDS if "low" in item.metadata]
CHOICES = [(section, item) for section, item in FIELDS if "options" in item.metadata]


def name_of(part: Any) -> str:
    return part.name if isinstance(part, dataclasses.Field) else str(part)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Text ──► a YAML file with it."""

    def write(text: str, name: str = "mine.yaml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_no_values_are_the_fields_own_defaults() -> None:
    assert config_from_dict({}) == Config()


def test_no_config_is_the_preset_small() -> None:
    assert load_config() == load_config("small") != Config()


@pytest.mark.parametrize("name", preset_names())
def test_every_value_of_a_preset_is_what_it_was(name: str) -> None:
    before = json.loads((Path(__file__).parent / "presets.json").read_text(encoding="utf-8"))[name]
    now = config_to_dict(load_config(name))
    assert {section: {key: now[section][key] for key in keys} for section, keys in before.items()} == before
    assert config_from_dict(before) == load_config(name), "a checkpoint holds its config like this"


def test_a_checkpoint_keeps_the_values_that_it_was_trained_with() -> None:
    shipped = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))["config"]
    loaded = config_from_dict(shipped)
    now = config_to_dict(loaded)  # has the settings that v2l did not have yet
    assert {section: {key: now[section][key] for key in keys} for section, keys in shipped.items()} == shipped
    assert loaded.training.learning_rate == 5e-4 != load_config("small").training.learning_rate


@pytest.mark.parametrize("section", list(SECTIONS))
def test_a_missing_section_of_a_checkpoint_has_the_fields_own_defaults(section: str) -> None:
    values = {name: part for name, part in config_to_dict(load_config("small")).items() if name != section}
    assert getattr(config_from_dict(values), section) == getattr(Config(), section)


def test_the_defaults_are_the_papers() -> None:
    config = Config()
    assert (
        config.model.image_size,
        config.model.global_tokens,
        config.model.z_channels,
        config.model.lookup_dim,
    ) == (128, 21, 256, 768)
    assert config.training.learning_rate == 5e-4
    assert config.training.betas == (0.5, 0.9)
    assert (config.training.commitment_weight, config.training.codebook_weight) == (1.0, 0.33)


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_and_survive_plain_values(name: str) -> None:
    config = load_config(name)
    assert config_from_dict(config_to_dict(config)) == config
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(config_to_dict(config)))) == config


def test_the_presets_are_the_three_that_are_described() -> None:
    assert preset_names() == ["official", "paper", "small", "vqgan", "vqgan-paper"]


def test_presets_are_read_from_an_installed_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("extends: none\ntraining: {steps: 7}", encoding="utf-8")
    monkeypatch.setattr(config_module, "PRESETS", tmp_path)
    assert preset_names() == ["mine"]
    assert load_config("mine").training.steps == 7


@pytest.mark.parametrize(("section", "item"), FIELDS, ids=name_of)
def test_every_field_has_a_text_and_a_default_that_it_accepts(section: str, item: dataclasses.Field) -> None:
    assert item.metadata["text"].endswith(".")
    assert config_from_dict({section: {item.name: item.default}}) == Config()


@pytest.mark.parametrize(("section", "item"), NUMBERS, ids=name_of)
def test_a_number_out_of_its_range_is_refused(section: str, item: dataclasses.Field) -> None:
    for value in (item.metadata["low"] - 1, item.metadata["high"] + 1):
        with pytest.raises(V2LError, match=rf"^got {section}\.{item.name} = {value}; allowed: from .* to "):
            config_from_dict({section: {item.name: value}})


@pytest.mark.parametrize(("section", "item"), NUMBERS, ids=name_of)
@pytest.mark.parametrize("value", ["many", None, [1], True, {"a": 1}])
def test_a_number_of_another_type_is_refused(section: str, item: dataclasses.Field, value: Any) -> None:
    with pytest.raises(
        V2LError, match=rf"^got {section}\.{item.name} = {re.escape(repr(value))}; allowed: (int|float): "
    ):
        config_from_dict({section: {item.name: value}})


@pytest.mark.parametrize(("section", "item"), CHOICES, ids=name_of)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(section: str, item: dataclasses.Field) -> None:
    with pytest.raises(V2LError, match=f"allowed: {', '.join(item.metadata['options'])}"):
        config_from_dict({section: {item.name: "another"}})


@pytest.mark.parametrize(
    ("training", "model", "line"),
    [
        ({"adversarial_weight": 0.1}, {}, "training.adversarial_weight = 0.1"),
        ({"quantizer_start": 0.5}, {}, "training.quantizer_start = 0.5"),
        ({"restart_after": 200}, {"quantizer": "learned"}, "training.restart_after = 200"),
        ({}, {"quantizer": "averaged"}, "model.quantizer = averaged"),
    ],
)
def test_words_alone_are_not_trained_with_what_changes_other_weights(
    training: dict[str, Any], model: dict[str, Any], line: str
) -> None:
    alone = {"trained": "words", "adversarial_weight": 0.0}
    config_from_dict({"training": alone})
    with pytest.raises(V2LError, match=f"^got training.trained = words with {line}; allowed: .*trained: all"):
        config_from_dict({"training": alone | training, "model": model})


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"training": {"steps": 2.5}}, "training.steps = 2.5"),
        ({"training": {"random_crop": 1}}, "training.random_crop = 1"),
        ({"training": {"random_crop": "yes"}}, "training.random_crop = 'yes'"),
        ({"training": {"betas": 0.5}}, "training.betas = 0.5"),
        ({"training": {"betas": ["a", "b"]}}, "training.betas = ['a', 'b']"),
        ({"training": {"betas": [0.5]}}, "training.betas = [0.5]"),
        ({"training": {"betas": [0.5, 1.0]}}, "training.betas = [0.5, 1.0]"),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate = nan"),
        ({"model": {"level_channels": [32.5]}}, "model.level_channels = [32.5]"),
        ({"codebook": {"templates": "a photo of a {}"}}, "codebook.templates = 'a photo of a {}'"),
        ({"codebook": {"openings": ["a photo of"]}}, "codebook.openings with 'a photo of'"),
        ({"codebook": {"openings": ["a photo of{}"]}}, "codebook.openings with 'a photo of{}'"),
        ({"codebook": {"openings": ["{} {}"]}}, "codebook.openings with '{} {}'"),
        ({"codebook": {"openings": []}}, "codebook.openings with none"),
        ({"models": {"llm": 7}}, "models.llm = 7"),
        ({"model": [1, 2]}, "model = [1, 2]"),
        ({"model": 0}, "model = 0"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(V2LError, match=re.escape(line)):
        config_from_dict(values)


@pytest.mark.parametrize(
    ("values", "key", "near"),
    [
        ({"training": {"learnin_rate": 1e-3}}, "training.learnin_rate", "learning_rate"),
        ({"trainig": {"steps": 1}}, "config.trainig", "training"),
        ({"model": {"imagesize": 128}}, "model.imagesize", "image_size"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(values: dict[str, Any], key: str, near: str) -> None:
    with pytest.raises(V2LError, match=f"^got the unknown key {key}; allowed: .*; try: {near}$"):
        config_from_dict(values)


@pytest.mark.parametrize("key", ["zzz", 7])
def test_an_unknown_key_like_no_other_is_refused_with_all(key: Any) -> None:
    with pytest.raises(
        V2LError,
        match=f"unknown key model.{key}; allowed: tokenizer, variant, image_size, .*; try: v2l train --help",
    ):
        config_from_dict({"model": {key: 1}})


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("5E-4", 5e-4), ("4.5e-4", 4.5e-4), ("1", 1.0), ("'0.25'", 0.25)]
)
def test_numbers_are_read_as_people_write_them(text: str, value: float, write: Any) -> None:
    read = load_config(write(f"training:\n  learning_rate: {text}\n")).training.learning_rate
    assert read == value
    assert isinstance(read, float)


def test_numbers_of_a_list_are_read_as_single_ones_are(write: Any) -> None:
    read = load_config(write("training:\n  betas: [5e-1, 9e-1]\n")).training.betas
    assert read == (0.5, 0.9)


@pytest.mark.parametrize(("text", "value"), [("no", "no"), ("'no'", "no"), ("bf16", "bf16")])
def test_the_choice_no_is_read_as_a_word(text: str, value: str, write: Any) -> None:
    assert load_config(write(f"training:\n  precision: {text}\n")).training.precision == value


@given(st.integers(1, 512))
def test_images_are_multiples_of_eight(size: int) -> None:
    values = {"model": {"image_size": size}}
    if size % 8:
        with pytest.raises(V2LError, match=r"from 8 to|a multiple of 8"):
            config_from_dict(values)
    else:
        assert config_from_dict(values).model.image_size == size


def test_training_crops_are_multiples_of_eight() -> None:
    with pytest.raises(V2LError, match=r"training\.crop_size = 100; allowed: a multiple of 8; try: 96"):
        config_from_dict({"training": {"crop_size": 100}})


@pytest.mark.parametrize("channels", [[48], [32, 100], [0], [-32], []])
def test_levels_are_multiples_of_thirty_two(channels: list[int]) -> None:
    with pytest.raises(V2LError, match=r"model\.level_channels = \[.*; allowed: one or more multiples of 32"):
        config_from_dict({"model": {"level_channels": channels}})


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a {0}", "a {} {", ""])
def test_a_template_has_one_place_for_the_word(template: str) -> None:
    with pytest.raises(V2LError, match=r"codebook\.templates with .*; allowed: sentences with one \{\}"):
        config_from_dict({"codebook": {"templates": ["a {}", template]}})


def test_a_file_holds_only_what_differs(write: Any) -> None:
    config, small = load_config(write("model:\n  global_tokens: 5\n")), load_config("small")
    assert config == dataclasses.replace(small, model=dataclasses.replace(small.model, global_tokens=5))


def test_a_file_that_extends_nothing_holds_what_differs_from_the_fields_defaults(write: Any) -> None:
    config = load_config(write("extends: none\nmodel:\n  global_tokens: 5\n"))
    assert config == dataclasses.replace(Config(), model=dataclasses.replace(Config().model, global_tokens=5))


@pytest.mark.parametrize("base", ["paper", "official"])
def test_a_file_that_means_the_papers_preset_names_it(base: str, write: Any) -> None:
    assert load_config(write(f"extends: {base}\n")) == load_config(base) != load_config(write(""))


def test_the_file_at_the_end_of_a_chain_extends_small(write: Any) -> None:
    write("training: {steps: 1}\n", "first.yaml")
    config = load_config(write("extends: first.yaml\n"))
    assert (config.training.steps, config.model) == (1, load_config("small").model)


@pytest.mark.parametrize(
    "text", ["", "model:\n", "# nothing\n", "model: {}\n", "extends:\n", "extends: small\n"]
)
def test_a_file_that_changes_nothing_is_what_runs_without_a_config(text: str, write: Any) -> None:
    assert load_config(write(text)) == load_config()


def test_a_file_extends_a_preset(write: Any) -> None:
    small, mine = load_config("small"), load_config(write("extends: small\ntraining: {steps: 9}\n"))
    assert mine.training == dataclasses.replace(small.training, steps=9)
    assert (mine.models, mine.codebook, mine.model) == (small.models, small.codebook, small.model)


def test_a_file_extends_a_file_beside_it_and_that_one_another(write: Any) -> None:
    write("training: {steps: 1, batch_size: 2}\nmodel: {global_tokens: 3}\n", "first.yaml")
    write("extends: first.yaml\ntraining: {batch_size: 4}\n", "second.yaml")
    config = load_config(write("extends: second.yaml\nmodel: {z_channels: 5}\n"))
    assert (
        config.training.steps,
        config.training.batch_size,
        config.model.global_tokens,
        config.model.z_channels,
    ) == (1, 4, 3, 5)


def test_a_bare_heading_keeps_the_values_of_the_base(write: Any) -> None:
    assert load_config(write("extends: small\nmodel:\n")) == load_config("small")


@pytest.mark.parametrize("base", ["mine.yaml", "other.yaml"])
def test_files_that_extend_each_other_in_a_circle_are_refused(base: str, write: Any) -> None:
    write("extends: mine.yaml\n", "other.yaml")
    with pytest.raises(V2LError, match="extends itself"):
        load_config(write(f"extends: {base}\n"))


@pytest.mark.parametrize("base", ["nowhere.yaml", "[small]", "7"])
def test_a_base_that_is_not_there_is_refused(base: str, write: Any) -> None:
    with pytest.raises(
        V2LError,
        match="no preset and no file; allowed: official, paper, small, vqgan, vqgan-paper, or a YAML file",
    ):
        load_config(write(f"extends: {base}\n"))


@pytest.mark.parametrize("source", ["tiny", "/no/such/file.yaml", "."])
def test_an_unknown_source_is_refused_with_the_presets(source: str) -> None:
    with pytest.raises(
        V2LError,
        match=re.escape(
            f"got config {source!r}, which is no preset and no file; allowed: official, paper, small, vqgan, vqgan-paper"
        ),
    ):
        load_config(source)


@pytest.mark.parametrize(
    "text",
    [
        "model: [1\n",
        "a: b: c\n",
        "\tmodel: 1\n",
        "- model\n",
        "model\n",
        "!!python/object:os.system {}\n",
        "a: 2024-13-01\n",
    ],
)
def test_what_is_no_yaml_with_keys_is_one_line(text: str, write: Any) -> None:
    with pytest.raises(V2LError, match=r"mine\.yaml (is no YAML|holds no keys)") as refused:
        load_config(write(text))
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(V2LError, match="is no YAML"):
        load_config(tmp_path / "mine.yaml")
