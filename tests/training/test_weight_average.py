"""The moving average of weights."""

from __future__ import annotations

import torch

from v2l.training.weight_average import WeightAverage


def test_an_average_follows_the_weights_and_the_network_gets_its_own_back() -> None:
    network = torch.nn.Linear(2, 2)
    own = network.weight.detach().clone()
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.weight.add_(1.0)
    average.update(steps=1000)
    assert torch.allclose(average.tensors["weight"], own + 0.1)
    with average.in_network():
        assert torch.equal(network.weight, average.tensors["weight"])
    assert torch.equal(network.weight, own + 1.0)
