"""Losses and mixing, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from detection.training import losses


def test_smoothing_moves_labels_towards_the_middle():
    assert losses.smoothed(torch.tensor([0.0, 1.0]), 0.1).tolist() == pytest.approx([0.1, 0.9])


def test_focal_forgives_what_is_right_already():
    logit, label = torch.tensor([2.0]), torch.tensor([1.0])
    p = 1 / (1 + math.exp(-2))
    assert losses.focal(logit, label, 2.0).item() == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)
    assert losses.focal(logit, label, 0.0).item() == pytest.approx(losses.bce(logit, label).item())


class Fixed(nn.Module):
    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"logit": batch[:, 0], "embedding": batch}


def margin_net(kind: str, centres: list[list[float]]) -> losses.MarginNet:
    net = losses.MarginNet(Fixed(), 2, kind)
    net.centres.data = torch.tensor(centres)
    return net


def test_one_class_softmax_wants_real_speech_near_its_centre_and_fakes_anywhere_else():
    net = margin_net("oc-softmax", [[1.0, 0.0]])
    batch = torch.tensor([[3.0, 0.0], [0.0, 2.0]])  # on the centre; at a right angle to it
    outputs = net(batch)
    assert outputs["logit"].tolist() == pytest.approx([20 * (0.55 - 1), 20 * 0.55])
    real = net.loss(outputs, torch.zeros(2))
    fake = net.loss(outputs, torch.ones(2))
    soft = [math.log1p(math.exp(20 * x)) for x in (0.9 - 1, 0.9, 1 - 0.2, -0.2)]
    assert [*real.tolist(), *fake.tolist()] == pytest.approx(soft, rel=1e-4)


def test_additive_margin_asks_for_more_than_the_right_side():
    net = margin_net("am-softmax", [[1.0, 0.0], [0.0, 1.0]])
    outputs = net(torch.tensor([[1.0, 1.0]]))
    assert outputs["logit"].tolist() == pytest.approx([0.0], abs=1e-5)
    plain, margined = math.log(2), math.log1p(math.exp(20 * 0.35))
    assert net.loss(outputs, torch.ones(1)).item() == pytest.approx(margined, rel=1e-4)
    assert margined > plain


def test_mixup_mixes_labels_as_it_mixes_items():
    generator = torch.Generator().manual_seed(1)
    items, labels = torch.arange(4.0).reshape(4, 1).repeat(1, 5), torch.arange(4.0)
    mixed, soft = losses.mixed(items, labels, 0.4, generator)
    assert torch.allclose(mixed[:, 0], soft)
    assert not torch.equal(mixed, items)


@pytest.mark.parametrize("shape", [(4, 100), (4, 3, 20, 20), (4, 5, 3, 20, 20)])
def test_cutmix_labels_are_the_area_that_came_from_each(shape):
    generator = torch.Generator().manual_seed(3)
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0])
    items = labels.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).clone()
    patched, soft = losses.patched(items, labels, 1.0, generator)
    assert patched.flatten(1).mean(dim=1).tolist() == pytest.approx(soft.tolist(), abs=1e-5)
    assert set(patched.unique().tolist()) == {0.0, 1.0}
    if len(shape) == 5:
        assert torch.equal(patched[:, 0], patched[:, 4]), "the box moves between frames"


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="hinge"):
        losses.of_items(Fixed(), {"logit": torch.zeros(1)}, torch.zeros(1), {"loss": "hinge"})
