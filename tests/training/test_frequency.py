"""Training of the frequency net."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny batches: a second thread only waits for the first

from detection.engine import patches  # noqa: E402
from detection.engine.branches import frequency  # noqa: E402
from detection.training.frequency import MEAN, STD  # noqa: E402
from tests.training.test_synthesis import generated, photo  # noqa: E402


def batch_of(crops: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(patches.to_batch(crops, (MEAN,) * 3, (STD,) * 3))


def test_residual_of_a_flat_picture_is_zero() -> None:
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (0, 77, 255)]
    assert frequency.build().residual(batch_of(flat)).abs().max() < 1e-5


def test_residual_shows_a_single_pixel_and_forgets_brightness() -> None:
    dark, light = np.full((64, 64, 3), 50, np.uint8), np.full((64, 64, 3), 150, np.uint8)
    dark[31, 33] += 20
    light[31, 33] += 20
    first, second = frequency.build().residual(batch_of([dark, light]))
    assert first.abs().max() > 0.1
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_net_overfits_eight_crops() -> None:
    torch.manual_seed(0)
    net = frequency.build().train()
    batch = batch_of([make(seed, 64) for seed in range(4) for make in (photo, generated)])
    labels = torch.tensor([0.0, 1.0] * 4)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(25):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(batch)["logit"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.15


def test_map_is_the_logits_own_share_of_places() -> None:
    """With average pooling and one linear layer, the mean of the signed map is the logit without its bias."""
    torch.manual_seed(0)
    net = frequency.build().eval()
    batch = batch_of([photo(1, 64)])
    with torch.inference_mode():
        maps = net.stages(torch.relu(net.stem(net.residual(batch))))
        signed = (maps * net.head.weight[0][:, None, None]).sum(1)
        outputs = net(batch)
    torch.testing.assert_close(signed.mean() + net.head.bias[0], outputs["logit"][0])
    torch.testing.assert_close(signed.clamp(min=0), outputs["cam"])
