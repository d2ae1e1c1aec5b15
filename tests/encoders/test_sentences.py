"""The text half is loaded by the first text; its weights are those of the network; a damaged folder is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from v2l.encoders.sentences import SentenceEncoder
from v2l.errors import V2LError
from v2l.zoo import embedded_path

CPU = torch.device("cpu")


@pytest.mark.embedded
def test_weights_are_read_without_the_network_and_are_its_own() -> None:
    encoder = SentenceEncoder(embedded_path("minilm"), CPU)
    weights = encoder.weights()
    assert "network" not in vars(encoder)
    assert encoder.encode(["a photo of a cat"]).shape == (1, encoder.dim)
    own = encoder.network.state_dict()
    assert {name.split(".", 2)[2] for name in weights} == {name.split(".", 2)[2] for name in own}
    assert all(
        torch.equal(tensor, weights["0.model." + name.split(".", 2)[2]]) for name, tensor in own.items()
    )


def test_no_texts_have_no_tokens(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    assert SentenceEncoder(tmp_path, CPU).tokenize([]) == []


@pytest.mark.parametrize("config", ["", "{}", "[]", json.dumps({"hidden_size": "wide"})])
def test_a_folder_without_a_width_is_refused(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(V2LError, match=r"config\.json is missing or damaged"):
        SentenceEncoder(tmp_path, CPU)


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(V2LError, match="truncated"):
        SentenceEncoder(tmp_path, CPU).weights()
