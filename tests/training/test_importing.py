"""import_weights: strict, hash-checked, and exact about what does not fit."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.training import architectures, importing
from detection.training.importing import WeightsRejected
from tests.training.published import MESO4, MESOINCEPTION4, keras_arrays, made_up, shapes_of, write_h5

SHARED = os.environ.get("DEEPFAKE_SHARED_WEIGHTS", "")


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def aasist_l(tmp_path):
    state = made_up(shapes_of(architectures.build("aasist-l").state_dict()))
    return state, saved(tmp_path / "AASIST-L.pth", state)


def test_every_weight_arrives(aasist_l):
    state, path = aasist_l
    net = importing.load("aasist-l", path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not net.training
    loaded = net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_another_digest_is_refused_before_the_file_is_read(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"not even a checkpoint")
    with pytest.raises(WeightsRejected, match="expected 00"):
        importing.load("aasist", path, "00" * 32)


def test_missing_extra_and_misshapen_keys_are_named_five_at_a_time(aasist_l, tmp_path):
    state, _ = aasist_l
    broken = {key: value for key, value in state.items() if not key.startswith("encoder.0")}
    broken |= {"stranger.weight": torch.zeros(1), "pos_S": torch.zeros(1, 23, 64)}
    with pytest.raises(WeightsRejected) as refused:
        importing.load("aasist-l", saved(tmp_path / "broken.pth", broken))
    said = str(refused.value)
    assert "missing: encoder.0.0.conv1.weight, encoder.0.0.conv1.bias, " in said
    assert said.count("encoder.0.0") == 5
    assert "1 not known: stranger.weight" in said
    assert "pos_S (1, 23, 64) instead of (1, 23, 24)" in said


def test_weights_that_are_not_numbers_are_refused(aasist_l, tmp_path):
    state, _ = aasist_l
    state["out_layer.bias"][0] = float("nan")
    with pytest.raises(WeightsRejected, match=r"not finite: out_layer\.bias"):
        importing.load("aasist-l", saved(tmp_path / "nan.pth", state))


class Hostile:
    def __reduce__(self):
        return print, ("this must never run",)


def test_a_checkpoint_cannot_run_code(tmp_path, capsys):
    path = saved(tmp_path / "hostile.pth", {"state_dict": Hostile()})
    with pytest.raises(WeightsRejected, match="cannot be read as plain weights"):
        importing.load("aasist", path)
    assert "this must never run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": "text"}}])
def test_a_file_without_tensors_is_refused(content, tmp_path):
    with pytest.raises(WeightsRejected, match="no plain table of tensors"):
        importing.load("aasist", saved(tmp_path / "x.pth", content))


def test_the_wrappers_of_trainers_are_taken_off(aasist_l, tmp_path):
    state, _ = aasist_l
    wrapped = {"epoch": 12, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    net = importing.load("aasist-l", saved(tmp_path / "wrapped.pth", wrapped))
    assert torch.equal(net.state_dict()["pos_S"], state["pos_S"])


@pytest.mark.parametrize(("layout", "layers"), [("meso4", MESO4), ("mesoinception4", MESOINCEPTION4)])
def test_keras_layers_find_their_place(layout, layers, tmp_path):
    arrays = keras_arrays(layers)
    net = importing.load(layout, write_h5(tmp_path / "meso.h5", arrays))
    picture = np.random.RandomState(0).rand(256, 256, 3).astype(np.float32)
    with torch.inference_mode():
        logit = net(torch.from_numpy(picture.transpose(2, 0, 1))[None])["logit"].item()
    assert logit == pytest.approx(-_keras_forward(layout, arrays, picture), abs=2e-3)


def _keras_forward(layout: str, arrays: dict[str, np.ndarray], picture: np.ndarray) -> float:
    """The published model in plain NumPy, channels last: the logit of "real"."""
    layer = {"conv2d": 0, "batch_normalization": 0, "dense": 0}
    numbers = {k: sorted(int(n.split("/")[0].rsplit("_", 1)[1]) for n in arrays if n.startswith(k)) for k in layer}

    def weights(kind: str, *names: str) -> list[np.ndarray]:
        unique = sorted(set(numbers[kind]))
        name = f"{kind}_{unique[layer[kind]]}"
        layer[kind] += 1
        return [arrays[f"{name}/{name}/{inner}:0"] for inner in names]

    def conv(x: np.ndarray, dilation: int = 1) -> np.ndarray:
        kernel, bias = weights("conv2d", "kernel", "bias")
        reach = (kernel.shape[0] - 1) * dilation // 2
        padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        out = np.zeros((*x.shape[:2], kernel.shape[3]))
        for i in range(kernel.shape[0]):
            for j in range(kernel.shape[1]):
                top, left = i * dilation, j * dilation
                out += padded[top : top + x.shape[0], left : left + x.shape[1]] @ kernel[i, j]
        return np.maximum(out + bias, 0)

    def norm_and_pool(x: np.ndarray, side: int) -> np.ndarray:
        gamma, beta, mean, variance = weights("batch_normalization", "gamma", "beta", "moving_mean", "moving_variance")
        x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        height, width, channels = x.shape
        return x.reshape(height // side, side, width // side, side, channels).max(axis=(1, 3))

    def inception(x: np.ndarray) -> np.ndarray:
        views = [conv(x), conv(conv(x)), conv(conv(x), 2), conv(conv(x), 3)]
        return np.concatenate(views, axis=2)

    first = inception if layout == "mesoinception4" else conv
    x = norm_and_pool(first(picture), 2)
    x = norm_and_pool(first(x), 2)
    x = norm_and_pool(conv(x), 2)
    x = norm_and_pool(conv(x), 4)
    kernel, bias = weights("dense", "kernel", "bias")
    hidden = x.reshape(-1) @ kernel + bias
    kernel, bias = weights("dense", "kernel", "bias")
    return float((np.where(hidden > 0, hidden, 0.1 * hidden) @ kernel + bias)[0])


def test_the_other_mesonet_is_refused(tmp_path):
    path = write_h5(tmp_path / "meso.h5", keras_arrays(MESOINCEPTION4))
    with pytest.raises(WeightsRejected, match="16 layers of kind conv2d, this net 4"):
        importing.load("meso4", path)


def test_a_stranger_in_an_h5_file_is_refused(tmp_path):
    path = write_h5(tmp_path / "meso.h5", {**keras_arrays(MESO4), "odd/odd/kernel:0": np.zeros(2, np.float32)})
    with pytest.raises(WeightsRejected, match="1 not known: odd/odd/kernel:0"):
        importing.load("meso4", path)


def test_deepfakebench_xception_with_its_unused_and_reshaped_keys(tmp_path):
    net = architectures.build("classifier", name="timm:legacy_xception", classes=2)
    state = made_up(shapes_of(net.state_dict()))
    published = {f"backbone.{key.removeprefix('net.').replace('fc.', 'last_linear.1.')}": v for key, v in state.items()}
    published["backbone.adjust_channel.0.weight"] = torch.zeros(512, 2048, 1, 1)
    flat = "backbone.block4.rep.1.pointwise.weight"
    published[flat] = published[flat][:, :, 0, 0]
    loaded = importing.load("deepfakebench-xception", saved(tmp_path / "xception_best.pth", published)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    published["backbone.elsewhere"] = torch.zeros(1)
    with pytest.raises(WeightsRejected, match=r"not known: net\.elsewhere"):
        importing.load("deepfakebench-xception", saved(tmp_path / "odd.pth", published))


def test_a_library_checkpoint_brings_its_own_head(tmp_path):
    net = architectures.build("classifier", name="timm:resnet10t", classes=2)
    state = {key.removeprefix("net."): value for key, value in made_up(shapes_of(net.state_dict())).items()}
    loaded = importing.load("timm:resnet10t", saved(tmp_path / "r.pth", state))
    with torch.inference_mode():
        outputs = loaded(torch.rand(2, 3, 64, 64))
    scores = outputs["scores"]
    assert outputs["logit"].tolist() == pytest.approx((scores[:, 1] - scores[:, 0]).tolist())
    assert importing.contract("timm:resnet10t").size == 176


def test_torchvision_weights_load(tmp_path):
    net = architectures.build("classifier", name="torchvision:squeezenet1_1", classes=3)
    state = {key.removeprefix("net."): value for key, value in net.state_dict().items()}
    with pytest.raises(WeightsRejected):  # its head is a convolution: the number of classes cannot be read from it
        importing.load("torchvision:squeezenet1_1", saved(tmp_path / "s.pth", state))
    net = architectures.build("classifier", name="torchvision:mobilenet_v3_small", classes=3)
    state = {key.removeprefix("net."): value for key, value in net.state_dict().items()}
    loaded = importing.load("torchvision:mobilenet_v3_small", saved(tmp_path / "m.pth", state))
    assert loaded(torch.rand(1, 3, 64, 64))["scores"].shape == (1, 3)


def test_a_layout_that_is_not_known_says_which_are():
    with pytest.raises(WeightsRejected, match="aasist, aasist-l, meso4"):
        importing.find("resnet")


@pytest.mark.skipif(not SHARED, reason="DEEPFAKE_SHARED_WEIGHTS names no folder of published weights")
@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("aasist", "aasist/AASIST.pth"),
        ("aasist-l", "aasist/AASIST-L.pth"),
        ("meso4", "mesonet/weights/Meso4_DF.h5"),
        ("meso4", "mesonet/weights/Meso4_F2F.h5"),
        ("mesoinception4", "mesonet/weights/MesoInception_DF.h5"),
        ("mesoinception4", "mesonet/weights/MesoInception_F2F.h5"),
        ("minifasnet-v2", "minifasnet/resources/anti_spoof_models/2.7_80x80_MiniFASNetV2.pth"),
        ("minifasnet-v1se", "minifasnet/resources/anti_spoof_models/4_0_0_80x80_MiniFASNetV1SE.pth"),
    ],
)
def test_published_files_load(layout, path):
    net = importing.load(layout, Path(SHARED) / path)
    contract = importing.contract(layout)
    shape = (2, 16_000) if contract.task == "audio" else (2, 3, contract.size, contract.size)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        logits = net(torch.rand(shape, generator=generator))["logit"]
    assert logits.isfinite().all()
