"""Training of the synthesis net, and what it shares with the frequency net: items, disturbances, batches, baselines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tiny batches: a second thread only waits for the first

from detection.engine import patches  # noqa: E402
from detection.engine.branches import frequency  # noqa: E402
from detection.engine.branches.synthesis_net import FEATURES, HEADS, REACH, SynthesisNet  # noqa: E402
from detection.training import (  # noqa: E402
    picture_features,
    picture_head,
    picture_pairs,
    picture_report,
    picture_runs,
    pictures,
    reconstruction,
    synthesis,
)

COLUMNS = ["path", "label", "category", "generator_or_camera", "source_repo", "group", "orig_format", "split"]


def photo(seed: int, side: int = 192) -> np.ndarray:
    """A scene-like picture: soft shapes and sensor noise."""
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), (0, 0), 6)
    soft = cv2.normalize(soft, None, 20, 235, cv2.NORM_MINMAX)
    return (soft + rng.normal(0, 5, soft.shape)).clip(0, 255).astype(np.uint8)


def generated(seed: int, side: int = 192) -> np.ndarray:
    """The same kind of scene with the checkerboard that careless up-sampling leaves."""
    small = photo(seed, side // 2)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST).astype(int)
    y, x = np.indices((side, side))
    return (large + 6 * ((x + y) % 2 * 2 - 1)[..., None]).clip(0, 255).astype(np.uint8)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve pictures of each class, from two sources each, for every split."""
    rows = []
    for split in ("train", "calibration", "test"):
        for number in range(12):
            for label, make in (("real", photo), ("fake", generated)):
                name = f"{split}_{label}_{number}.jpg"
                image = make(hash_free_seed(split, number))
                (tmp_path / name).write_bytes(patches.encode_jpeg(image, patches.STORED_JPEG_QUALITY))
                source = f"{split}/{label}{number % 2}"
                rows.append([name, label, "photo" if label == "real" else "ai", source, source, "", "JPEG", split])
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return tmp_path / "manifest.csv"


def hash_free_seed(split: str, number: int) -> int:
    return {"train": 0, "calibration": 1000, "test": 2000}[split] + number


CONFIG = {
    "seed": 1, "crop_px": 96, "epochs": 2, "batches_per_epoch": 3, "pictures": 8, "faces": 0, "pair_pictures": 0,
    "lr": 1e-3, "weight_decay": 0.0, "label_smoothing": 0.0, "ema_decay": 0.9, "freeze_norms": False, "bf16": False,
    "threads": 1, "workers": 0, "strength": 0.01, "pair_share": 0.15,
}  # fmt: skip


SYNTHESIS = {
    "crop_px": 64, "threads": 1, "most_reals_per_source": 8, "source_power": 0.85, "strength": 30.0, "folds": 2,
    "partitions": 1, "pairs_per_source": 2, "codec_pictures_per_source": 3, "test_codecs": ["JPEG 50"],
    "view_weights": {"picture": {"pieces": 1.0, "filmed": 0.5}, "face": {"whole": 1.0, "disturbed": 0.5}},
    "pair_shares": {"picture": {"transposed": 0.0}, "face": {"transposed": 0.5, "reconstruction": 0.5}},
}  # fmt: skip


@pytest.fixture
def small_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet weights are no part of the test: any fixed body shows how texture differs."""

    def load(net: SynthesisNet) -> None:
        torch.manual_seed(0)
        for module in [*net.stem.modules(), *net.stages.modules()]:
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)

    for user in (synthesis, picture_features):
        monkeypatch.setattr(user, "load_pretrained", load)


def fine_steps(piece: np.ndarray) -> np.ndarray:
    """Stands in for the body, which takes its time: a few statistics of neighbouring pixels, the rest is nought."""
    steps = np.abs(np.diff(piece.astype(np.float32), axis=1)).mean(axis=(0, 2))
    found = np.zeros(FEATURES, np.float32)
    found[:4] = steps[::2].mean(), steps[1::2].mean(), abs(steps[::2].mean() - steps[1::2].mean()), piece.mean()
    return found


def test_synthesis_trains_reports_and_exports(
    manifest: Path, tmp_path: Path, small_body: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesis, "Extractor", lambda: fine_steps)
    out = tmp_path / "run"
    out.mkdir()
    record = synthesis.train(SYNTHESIS | {"pair_cache": str(tmp_path / "pairs")}, [manifest], out)
    assert record["learnt_from"] == 36 + 36
    assert record["pairs"] == {"transposed": 2 * 6}
    assert record["left_out"]["picture"]["n_fake"] == 36
    assert record["left_out"]["all"]["auroc"] > 0.9  # a checkerboard is easy
    assert record["codecs"]["JPEG 50"]["picture"]["n"] == 3 * 12
    assert set(record["place"]["all"]["rivals"]) == {
        "file format and size", "radial spectrum", "frozen backbone probe",
    }  # fmt: skip
    (out / "run.json").write_text(json.dumps(record))
    entry = synthesis.export(out, tmp_path / "weights")
    assert entry["max_difference"]["logit"] < 0.05
    assert entry["temperature"] == record["temperature"]
    for path, _ in entry["files"]["openvino"]:
        assert (tmp_path / "weights" / path).stat().st_size < 25e6
    with (tmp_path / "weights" / "synthesis" / "oof.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 72
    assert rows[0]["path"] == f"{manifest.parent.name}/train_real_0.jpg"
    assert all(np.isfinite(float(row["logit"])) for row in rows)


def test_the_net_says_what_the_fitted_head_says(tmp_path: Path, small_body: None) -> None:
    extract = picture_features.Extractor()
    crops = [make(seed, 64) for seed in range(4) for make in (photo, generated)]
    statistics = np.array([extract(one) for one in crops])
    scale = picture_head.Scale.of(statistics)
    labels = np.array([False, True] * 4)
    heads = {
        name: picture_head.Moments([(scale(statistics), labels ^ flip, np.ones(8))]).solve(1.0)
        for name, flip in zip(HEADS, (False, True), strict=True)
    }
    synthesis._save_net(heads, scale, tmp_path / "net.pt")
    net = SynthesisNet().eval()
    net.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    with torch.inference_mode():
        said = net(torch.from_numpy(patches.to_batch(crops, (127.0,) * 3, (128.0,) * 3)))
    np.testing.assert_allclose(said["logit"], heads["picture"](scale(statistics)), atol=2e-2)
    assert said["logit"][labels].min() > 0.5 > -0.5 > said["logit"][~labels].max()  # eight crops are learnt by heart
    assert said["face_logit"][~labels].min() > 0.5
    assert said["cam"].shape == (8, 4, 4)


def test_a_statistic_far_out_says_no_more_than_one_at_the_limit() -> None:
    scale = picture_head.Scale.of(np.random.default_rng(0).normal(0, 1, (50, 3)).astype(np.float32))
    assert np.abs(scale(np.full((1, 3), 1e6, np.float32))).max() == REACH


def test_ridge_from_moments_equals_the_one_from_rows() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (200, 5)).astype(np.float32), rng.random(200) < 0.4
    w = rng.uniform(0.5, 2, 200)
    head = picture_head.Moments([(x[:80], y[:80], w[:80]), (x[80:], y[80:], w[80:])]).solve(10.0)
    other = Ridge(alpha=10.0).fit(x, np.where(y, 1, -1), sample_weight=w)
    np.testing.assert_allclose(head.weight, other.coef_, atol=1e-3)
    assert head.bias == pytest.approx(other.intercept_, abs=1e-3)


def test_pairs_weigh_their_share_and_only_those_of_known_sources_count() -> None:
    pairs = picture_pairs.Pairs(np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2), ("a", "b", "a"))
    statistics, labels, weights = synthesis._pair_rows(pairs, {"a"}, 30.0)
    assert statistics.shape == (8, 2)
    assert statistics[0].tolist() == [0, 1]
    assert statistics[4].tolist() == [16, 17]
    assert labels.tolist() == [False, False, True, True] * 2
    assert weights.sum() == pytest.approx(30.0)


def test_a_run_resumes_after_its_last_epoch(manifest: Path, tmp_path: Path) -> None:
    def run(epochs: int) -> dict:
        net = frequency.build()
        groups = [{"params": net.parameters(), "lr": 1e-3}]
        return picture_runs.train(net, groups, CONFIG | {"epochs": epochs}, [manifest], tmp_path, mean=0, std=255)

    first = run(1)
    both = run(2)
    assert [row["epoch"] for row in both["history"]] == [1, 2]
    assert both["history"][0] == first["history"][0]
    assert (tmp_path / "best.pt").exists()


def test_no_calibration_or_test_picture_is_learnt_from(manifest: Path) -> None:
    items = pictures.read_items([manifest])
    names = {split: {item.path.name.split("_")[0] for item in found} for split, found in items.items()}
    assert names == {"train": {"train"}, "calibration": {"calibration"}, "test": {"test"}}


def test_a_split_without_fakes_is_refused(manifest: Path) -> None:
    lines = [line for line in manifest.read_text().splitlines() if "test_fake" not in line]
    manifest.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="test split needs real and fake"):
        pictures.read_items([manifest])


def test_face_swaps_sounds_and_documents_are_not_read(manifest: Path) -> None:
    before = sum(len(found) for found in pictures.read_items([manifest]).values())
    with manifest.open("a") as file:
        file.write("a.wav,fake,,,,,,train\nb.jpg,fake,splice,,,,,train\nc.jpg,na,c2pa,,,,,train\n")
    assert sum(len(found) for found in pictures.read_items([manifest]).values()) == before


def test_both_of_a_pair_go_through_the_same_disturbance(tmp_path: Path) -> None:
    """A fake that equals its real must come out equal: then only what the decoder left can differ."""
    for end in ("real", "fake"):
        (tmp_path / f"a.{end}.jpg").write_bytes(patches.encode_jpeg(photo(3), 95))
    pair = reconstruction.read_pair(tmp_path, Path("a.jpg"))
    assert pair is not None
    recipe = pictures.Recipe(crop_px=96, pictures=0, faces=0, reconstructions=8)
    crops, labels = next(pictures.batches([], [pair], recipe, seed=0))
    assert labels.tolist() == [0, 1] * 4
    np.testing.assert_array_equal(crops[0::2], crops[1::2])
    assert not np.array_equal(crops[0], crops[2])


def test_disturbances_do_not_know_the_class(manifest: Path) -> None:
    """The very same picture under both labels gets the same range of treatments: no trace of the label is left."""
    image = photo(5)
    path = manifest.parent / "same.jpg"
    path.write_bytes(patches.encode_jpeg(image, 95))
    items = [pictures.Picture(path, fake, "picture", "s", "g", "g") for fake in (False, True)]
    stream = pictures.batches(items, [], pictures.Recipe(96, pictures=64, faces=0), seed=2)
    crops, labels = next(stream)
    detail = np.array([cv2.Laplacian(one, cv2.CV_32F).std() for one in crops])
    real, fake = detail[labels == 0], detail[labels == 1]
    assert len(real) == len(fake) == 32
    assert abs(np.log(real.mean() / fake.mean())) < 0.35


def test_draw_lets_no_source_rule() -> None:
    def item(source: str) -> pictures.Picture:
        return pictures.Picture(Path("x"), True, "picture", source, "g", "")

    draw = pictures.BalancedDraw([item("big")] * 400 + [item("small")] * 4)
    rng = np.random.default_rng(0)
    share = np.mean([draw.one(rng).source == "small" for _ in range(2000)])
    assert 0.06 < share < 0.12  # root of 4 against root of 400: 1 in 11, not 1 in 101


def test_reconstruction_keeps_size_and_range() -> None:
    torch.manual_seed(0)
    encoder, decoder = reconstruction.build_encoder(), reconstruction.build_decoder()
    with torch.inference_mode():
        latent = encoder(torch.rand(1, 3, 32, 24))
        assert latent.shape == (1, 32, 4, 3)
        assert decoder(latent).shape == (1, 3, 32, 24)


def test_calibration_centres_a_shifted_net() -> None:
    rng = np.random.default_rng(0)
    items = [pictures.Picture(Path("x"), i % 2 == 1, "picture", f"s{i % 6}", "g", "") for i in range(600)]
    truth = np.array([item.is_fake for item in items])
    logits = np.where(truth, 9.0, 5.0) + rng.normal(0, 2, 600)
    temperature, bias = picture_report.calibrate(items, logits)
    p = 1 / (1 + np.exp(-(logits / temperature + bias)))
    assert abs(p[truth].mean() + p[~truth].mean() - 1) < 0.05
    assert temperature > 0


def test_a_branch_that_only_equals_a_trivial_rival_is_not_fused() -> None:
    items = [pictures.Picture(Path("x"), i % 2 == 1, "picture", "s", "g", f"g{i}") for i in range(200)]
    good = np.array([float(item.is_fake) for item in items]) + np.random.default_rng(0).normal(0, 0.8, 200)
    chance = np.random.default_rng(1).normal(0, 1, 200)
    rivals = {"file format and size": chance, "radial spectrum": chance, "frozen backbone probe": chance}
    assert picture_report.earns_its_place(items, good, rivals)["fused"] is True
    assert picture_report.earns_its_place(items, good, rivals | {"radial spectrum": good})["fused"] is False
    assert picture_report.earns_its_place(items, good, rivals | {"frozen backbone probe": good * 2})["fused"] is False
