"""One training step by configuration: losses, mixup, sharpness-aware ascent, averages."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from detection.training import face_steps


def test_the_loss_is_named_by_the_configuration():
    logits, targets = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    plain = nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert face_steps.loss_of({})(logits, targets).item() == pytest.approx(plain.item())
    assert face_steps.loss_of({"loss": "focal", "focal_gamma": 0.0})(logits, targets).item() == pytest.approx(
        plain.item()
    )
    with pytest.raises(ValueError, match="loss must be one of"):
        face_steps.loss_of({"loss": "hinge"})


def test_focal_loss_pays_little_for_what_is_right():
    right, wrong = torch.tensor([4.0]), torch.tensor([-4.0])
    target = torch.tensor([1.0])
    p = torch.sigmoid(right)
    assert face_steps.focal_loss(right, target, 2.0).item() == pytest.approx(
        ((1 - p) ** 2 * -torch.log(p)).item(), rel=1e-4
    )
    assert face_steps.focal_loss(wrong, target, 2.0) > 1000 * face_steps.focal_loss(right, target, 2.0)


def test_targets_are_smoothed_on_both_sides():
    assert face_steps.pair_targets(4, 0.1).tolist() == pytest.approx([0.1, 0.1, 0.9, 0.9])


def test_mixup_mixes_pictures_and_targets_alike():
    rng = np.random.default_rng(0)
    inputs = torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None]
    found, targets = face_steps.mixed(inputs, inputs[:, 0], 0.4, rng)
    assert torch.allclose(found[:, 0], targets)
    assert not torch.equal(found, inputs)
    assert face_steps.mixed(inputs, inputs[:, 0], 0.0, rng)[0] is inputs


def linear() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    inputs = torch.randn(8, 3)
    return net, inputs, (inputs[:, 0] > 0).float()


@pytest.mark.parametrize("sam", [0.0, 0.05])
def test_steps_lower_the_loss(sam):
    net, inputs, targets = linear()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

    def loss() -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(net(inputs)[:, 0], targets)

    values = [face_steps.step(net, optimizer, loss, {"sam": sam}) for _ in range(60)]
    assert values[-1] < 0.5 * values[0]


def test_the_ascent_changes_the_step_but_not_where_it_starts_from():
    plain, inputs, targets = linear()
    sharp = copy.deepcopy(plain)
    before = [p.clone() for p in sharp.parameters()]
    for net, sam in ((plain, 0.0), (sharp, 0.5)):
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        face_steps.step(
            net,
            optimizer,
            lambda net=net: nn.functional.binary_cross_entropy_with_logits(net(inputs)[:, 0], targets),
            {"sam": sam},
        )
    moved = torch.cat([(a - b).flatten() for a, b in zip(sharp.parameters(), before, strict=True)])
    assert 0 < moved.norm() < 0.01
    assert not torch.equal(plain[0].weight, sharp[0].weight)
    assert torch.equal(plain[1].running_mean, sharp[1].running_mean)


def test_an_average_follows_the_net():
    net, _, _ = linear()
    mean = copy.deepcopy(net)
    with torch.no_grad():
        net[0].weight.add_(1.0)
        start = mean[0].weight.clone()
    face_steps.average(mean, net, 0.75)
    assert torch.allclose(mean[0].weight, start + 0.25)


def test_late_steps_may_all_weigh_the_same():
    config = {"ema": 0.9, "swa_from": 0.5}
    assert face_steps.decay_of(config, 1000, 0.2) == pytest.approx(0.9)
    assert face_steps.decay_of(config, 1000, 1.0) == pytest.approx(500 / 501)
    assert face_steps.decay_of({"ema": 0.99}, 10, 0.1) == pytest.approx(11 / 20)
    assert face_steps.decay_of({"ema": 0.0}, 10, 0.1) == 0.0
