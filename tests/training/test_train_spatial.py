"""The spatial trainer: batches of pairs, learning, going on after an interruption."""

import csv

import numpy as np
import pytest
import torch

from detection.engine.branches.spatial_net import FaceNet
from detection.training import datasets, face_pairs, face_report, spatial
from tests.training.faces_made import make_patches

CONFIG = {
    "seed": 1, "arch": "test_efficientnet", "pretrained": "none", "input_size": 64,
    "mean": [127.0] * 3, "std": [128.0] * 3, "pairs": 4, "steps": 3, "epochs": 2, "learning_rate": 3e-3,
    "warm_up": 1, "weight_decay": 0.0, "ema": 0.9, "label_smoothing": 0.0, "swap_share": 0.3, "clip_share": 0.3,
    "eval_frames": 2, "workers": 0,
}  # fmt: skip


def test_a_batch_holds_each_face_as_real_and_as_fake():
    stream = face_pairs.PairStream([make_patches(8), make_patches(4, is_clip=True)], CONFIG, seed=1)
    batch = next(iter(stream))
    assert batch.shape == (8, 64, 64, 3)
    assert batch.dtype == torch.uint8
    reals, fakes = batch[:4].float(), batch[4:].float()
    same, crossed = (reals - fakes).abs().mean(), (reals - fakes.roll(1, 0)).abs().mean()
    assert 0 < same < crossed


def test_only_real_training_faces_are_drawn():
    held_out = make_patches(3, split="test")
    with pytest.raises(ValueError, match="no real face"):
        face_pairs.PairStream([held_out], CONFIG, seed=1)


def test_a_tiny_net_learns_eight_pairs():
    torch.manual_seed(0)
    small = {**CONFIG, "pairs": 8, "input_size": 48}
    faces = face_pairs.normalise(next(iter(face_pairs.PairStream([make_patches(8)], small, seed=2))), small)
    target = torch.tensor([0.0] * 8 + [1.0] * 8)
    net = FaceNet("test_efficientnet", 48, dropout=0.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(faces)["logit"], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_the_map_of_a_net_averages_to_its_logit():
    for arch in ("test_efficientnet", "vit_tiny_patch16_224"):
        net = FaceNet(arch, 64).eval()
        with torch.inference_mode():
            outputs = net(torch.randn(2, 3, 64, 64))
        assert outputs["cam"].mean(dim=(1, 2)).tolist() == pytest.approx(outputs["logit"].tolist(), abs=1e-4)
        assert outputs["embedding"].shape == (2, net.head.in_features)


@pytest.mark.parametrize(
    "arch", ["tf_efficientnet_b0", "legacy_xception", "vit_tiny_patch16_224", "deit_tiny_patch16_224"]
)
def test_named_architectures_are_built_by_configuration(arch):
    net = face_pairs.build_net({"arch": arch, "input_size": 96, "pretrained": "none"}).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 96, 96))["logit"].shape == (1,)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    sets = [make_patches(8), make_patches(4, split="calibration", source="other/place")]
    first = spatial._Run({**CONFIG, "epochs": 1}, sets, tmp_path)
    first.fit()
    second = spatial._Run(CONFIG, sets, tmp_path)
    assert (second.epoch, second.step) == (1, 3)
    for mine, saved in zip(second.net.parameters(), first.net.parameters(), strict=True):
        assert torch.equal(mine, saved)
    second.fit()
    assert [entry["epoch"] for entry in second.log] == [1, 2]


def test_frozen_stages_stay_as_they_are():
    net = FaceNet("tf_efficientnet_lite0", 64).train()
    spatial.freeze(net, 2)
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    net(torch.randn(2, 3, 64, 64))["logit"].sum().backward()
    torch.optim.SGD([p for p in net.parameters() if p.grad is not None], lr=1.0).step()
    after = net.backbone.state_dict()
    assert torch.equal(before["blocks.1.0.conv_dw.weight"], after["blocks.1.0.conv_dw.weight"])
    assert torch.equal(before["blocks.0.0.bn1.running_mean"], after["blocks.0.0.bn1.running_mean"])
    assert not torch.equal(before["blocks.4.0.conv_pw.weight"], after["blocks.4.0.conv_pw.weight"])


def test_a_manifest_is_read_from_its_folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.txt").write_bytes(b"x")
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["path", "label", "split"], ["a.jpg", "fake", "test"], ["b.txt", "real", "test"]])
    (item,) = datasets.read_items([tmp_path / "manifest.csv"])
    assert (item.path, item.is_fake, item.split, item.is_clip) == (str(tmp_path / "a.jpg"), True, "test", False)


def test_the_serving_crop_is_the_middle_of_the_patch():
    patch = np.zeros((datasets.PATCH_PX, datasets.PATCH_PX, 3), np.uint8)
    patch[80:128, 80:128] = 255
    crop = datasets.serving_crop(patch, 159)
    bright = np.argwhere(crop[:, :, 0] > 128)
    assert bright.mean(axis=0) == pytest.approx([79, 79], abs=1)
    assert np.ptp(bright, axis=0) + 1 == pytest.approx([48, 48], abs=1)


def test_platt_brings_logits_onto_the_right_scale():
    rng = np.random.default_rng(0)
    labels = rng.random(4000) < 0.5
    logits = np.where(labels, 3.0, -1.0) + rng.normal(0, 2.0, 4000)
    fitted = face_report.platt(logits, labels.tolist())
    # Two normal classes, equal spread: the log odds are exactly logit - 1 (slope = distance / variance = 1).
    assert fitted["temperature"] == pytest.approx(1.0, abs=0.08)
    assert fitted["bias"] == pytest.approx(-1.0, abs=0.1)
