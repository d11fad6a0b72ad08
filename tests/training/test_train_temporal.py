"""The temporal trainer: courses of embeddings, batches, and that order in time can be learnt."""

import numpy as np
import pytest
import torch

from detection.engine.branches.temporal_net import WindowNet
from detection.training import temporal
from detection.training.datasets import Item
from tests.training.faces_made import draw_face

CONFIG = {
    "seed": 1, "width": 16, "layers": 1, "dropout": 0.0, "batch": 32, "steps": 150, "judge_every": 50,
    "learning_rate": 5e-3, "weight_decay": 0.0, "label_smoothing": 0.0, "blend_share": 0.5,
}  # fmt: skip


def course(seed: int, *, is_fake: bool, source: str = "made/up", frames: int = 24) -> temporal.Course:
    """Slow drift when real; the same values in shuffled order when fake, so that order alone tells them apart."""
    rng = np.random.default_rng(seed)
    looks = np.cumsum(rng.normal(0, 0.5, (frames, 8)), axis=0).astype(np.float32)
    if is_fake:
        looks = looks[rng.permutation(frames)]
    item = Item(f"{seed}.mp4", is_fake, True, "train", source, f"{source}/{seed}", "m", "faceswap", "", 1)
    return temporal.Course(item, looks, is_fake)


def test_the_net_learns_order_in_time():
    torch.manual_seed(0)
    train = [course(seed, is_fake=seed % 2 == 1) for seed in range(60)]
    held_out = [course(1000 + seed, is_fake=seed % 2 == 1) for seed in range(40)]
    _, history = temporal.fit(CONFIG, train, held_out)
    assert max(entry["calibration_auroc"] for entry in history) > 0.85


@pytest.mark.parametrize("options", [{}, {"loss": "focal", "sam": 0.02}])
def test_the_net_learns_a_handful_by_heart(options):
    torch.manual_seed(0)
    clips = [course(seed, is_fake=seed % 2 == 1, frames=16) for seed in range(8)]
    net, history = temporal.fit({**CONFIG, **options}, clips, clips)
    logits = temporal.score(net, clips)
    assert history[-1]["loss"] < 0.1
    assert min(logits[1::2]) > max(logits[::2])


def test_a_batch_is_half_real_half_fake_from_all_sources():
    courses = [course(i, is_fake=False) for i in range(20)]
    courses += [course(i, is_fake=True, source=f"s{i % 2}") for i in range(20)]
    rng = np.random.default_rng(0)
    labels = torch.cat([temporal.draw_batch(courses, CONFIG, rng)[1] for _ in range(20)])
    # No blends among them: real 0.5 against fake 0.25 of the shares.
    assert labels.mean().item() == pytest.approx(1 / 3, abs=0.06)


def test_a_clip_gets_one_logit_from_windows_that_cover_it():
    seen = []

    class Counting(torch.nn.Module):
        def forward(self, windows: torch.Tensor) -> dict[str, torch.Tensor]:
            seen.append(windows[:, 0, 0].tolist())
            return {"logit": windows[:, -1, 0]}

    looks = np.arange(40, dtype=np.float32)[:, None]
    one = temporal.Course(course(1, is_fake=False).item, looks, False)
    assert temporal.score(Counting(), [one]).tolist() == [pytest.approx((31 + 39) / 2)]
    assert seen == [[0.0, 16.0, 24.0]]


def test_a_steady_blend_is_the_same_in_every_frame_and_a_flickering_one_is_not():
    image, points = draw_face(3)
    for share, is_steady in ((0.0, True), (1.0, False)):
        blended = temporal._blend_clip([image] * 3, np.stack([points] * 3), np.random.default_rng(5), share)
        assert np.array_equal(blended[0], blended[1]) is is_steady
        assert not np.array_equal(blended[0], image)


def test_the_net_is_small_and_sums_its_attention_to_one():
    net = WindowNet().eval()
    outputs = net(torch.randn(2, 16, 1280))
    assert sum(p.numel() for p in net.parameters()) * 2 < 1_000_000
    assert outputs["attention"].sum(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
