"""Train any buildable net on manifests by configuration: `manage.py train custom --config configs/examples/….toml`."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detection.training import architectures, exporting, importing, losses, metrics, records
from detection.training.architectures import Architecture
from detection.training.custom_data import Draw, Item, Loader, counts, read_items
from detection.training.progress import Progress

Config = Mapping[str, Any]

DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "epochs": 20,
    "steps": 50,
    "batch": 16,
    "learning_rate": 3e-4,
    "weight_decay": 0.02,
    "warm_up": 20,
    "loss": "bce",
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "ema": 0.99,
    "sam": 0.0,
    "wear": 0.5,
    "curriculum_epochs": 0,
    "hard_mining": 0.0,
    "source_power": 0.5,
    "judge_items": 400,
    "threads": 1,
}


def train(config: Config, data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Train into `out` (goes on from its last epoch) and return configuration, counts and figures on left-out sources.

    Raises ValueError for a configuration that makes no sense, OSError when asked-for weights cannot be fetched.
    """
    config = checked(config)
    torch.set_num_threads(int(config["threads"]))
    torch.manual_seed(config["seed"])
    contract = contract_of(config)
    items = read_items(data, contract.task)
    run = _Run(config, items, Loader(contract, frame_step=int(config.get("frame_step", 2))), out)
    run.fit()
    net = load_run(out)
    result = {name: report(net, run.loader, [i for i in items if i.split == name]) for name in ("calibration", "test")}
    return {"config": dict(config), "items": counts(items), "epochs": run.log, **result}


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write weights_dir/custom-<architecture>/ from a finished run; returns files and parity with torch."""
    config = json.loads((run / "run.json").read_text())["config"]
    name = weights_name(config)
    entry = exporting.export(load_run(run), example_of(config), weights_dir / name, name)
    contract = contract_of(config)
    return {**entry, "input_size": contract.size, "mean": contract.mean, "std": contract.std}


def weights_name(config: Config) -> str:
    """Return the folder and file name of an exported net."""
    return f"custom-{config['architecture'].replace(':', '-')}"


def example_of(config: Config, count: int = 2) -> Tensor:
    """Return a batch of noise as the net of a configuration takes it."""
    net = contract_of(config)
    shape = {"image": (3, net.size, net.size), "video": (net.frames, 3, net.size, net.size), "audio": (net.size,)}
    generator = torch.Generator().manual_seed(0)
    return torch.randn((count, *shape[net.task]), generator=generator) * (0.1 if net.task == "audio" else 1.0)


def checked(config: Config) -> dict[str, Any]:
    """Return the configuration with its defaults. Raises ValueError that names what is wrong."""
    known = {*DEFAULTS, "architecture", "size", "frames", "frame_step", "settings", "pretrained", "init", "focal_gamma"}
    if strangers := sorted(set(config) - known):
        raise ValueError(f"The configuration has keys that are not known: {', '.join(strangers)}.")
    if "architecture" not in config:
        raise ValueError(f"The configuration names no architecture: {', '.join(sorted(architectures.ARCHITECTURES))}.")
    full = {**DEFAULTS, **config}
    if full["loss"] not in losses.NAMES:
        raise ValueError(f"There is no loss called {full['loss']!r}: {', '.join(losses.NAMES)}.")
    if full["loss"] in losses.MARGINS and (full["mixup"] or full["cutmix"]):
        raise ValueError(f"{full['loss']} takes whole labels: set mixup and cutmix to 0.")
    return full


def contract_of(config: Config) -> Architecture:
    """Return the input that the configured net takes. Raises ValueError when there is no such net."""
    try:
        known = architectures.get(config["architecture"])
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    return architectures.resized(known, config.get("size"), config.get("frames"))


def build(config: Config) -> nn.Module:
    """Return the configured net with its first weights: drawn, fetched (`pretrained`) or imported (`init`)."""
    settings = dict(config.get("settings", {}))
    if init := config.get("init"):
        net = importing.load(init["layout"], Path(init["path"]), init.get("sha256")).train()
    else:
        if config.get("pretrained"):
            settings["pretrained"] = True
        try:
            net = architectures.build(
                config["architecture"], size=config.get("size"), frames=config.get("frames"), **settings
            )
        except TypeError as error:
            raise ValueError(f"{config['architecture']} does not take these settings: {error}.") from error
    if config["loss"] not in losses.MARGINS:
        return net
    with torch.inference_mode():
        outputs = copy.deepcopy(net).eval()(example_of(config, 1))
    if "embedding" not in outputs:
        raise ValueError(f"{config['architecture']} has no embedding, which {config['loss']} needs.")
    return losses.MarginNet(net, outputs["embedding"].shape[1], config["loss"])


def load_run(out: Path) -> nn.Module:
    """Return the best net of a run, ready to score."""
    saved = torch.load(out / "best.pt", map_location="cpu", weights_only=True)
    net = build({**saved["config"], "init": None, "pretrained": False})
    net.load_state_dict(saved["net"], strict=True)
    return net.eval()


class _Run:
    """The loop: one draw, one judgement and one checkpoint an epoch; every epoch draws from its own seed."""

    def __init__(self, config: Config, items: Sequence[Item], loader: Loader, out: Path) -> None:
        self.config, self.loader, self.out = config, loader, out
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train_items = [item for item in items if item.split == "train"]
        self.look = _evenly([item for item in items if item.split == "calibration"], int(config["judge_items"]))
        self.draw = Draw(self.train_items, config["source_power"], config["hard_mining"])
        self.net = build(config).to(self.device)
        self.mean = copy.deepcopy(self.net).eval()
        learnt = [p for p in self.net.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in learnt if p.ndim > 1], "weight_decay": config["weight_decay"]},
            {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config["learning_rate"])
        self.epoch, self.step, self.best = 0, 0, -math.inf
        self.log: list[dict[str, Any]] = []
        self._resume()

    def fit(self) -> None:
        epochs, steps = int(self.config["epochs"]), int(self.config["steps"])
        progress = Progress((epochs - self.epoch) * steps, "training", sys.stderr)
        while self.epoch < epochs:
            seed = self.config["seed"] + self.epoch
            rng, generator = np.random.default_rng([seed, 1]), torch.Generator().manual_seed(seed)
            torch.manual_seed(seed)
            self.net.train()
            taken = []
            for _ in range(steps):
                taken.append(self._one_step(rng, generator))
                progress.step()
            self.epoch += 1
            figures = {"loss": round(float(np.mean(taken)), 4), **judge(self.mean, self.loader, self.look, self.device)}
            self.log.append({"epoch": self.epoch, **figures})
            records.log_epoch(self.epoch, **figures)
            self._save(figures["auroc"] if math.isfinite(figures["auroc"]) else -figures["loss"])

    def _one_step(self, rng: np.random.Generator, generator: torch.Generator) -> float:
        indices = self.draw.indices(int(self.config["batch"]), rng)
        items = [self.train_items[i] for i in indices]
        batch = self.loader.batch([self.loader(item, rng, self._wear()) for item in items])
        labels = torch.tensor([float(item.is_fake) for item in items])
        for name, change in (("mixup", losses.mixed), ("cutmix", losses.patched)):
            if self.config[name] and rng.random() < 0.5:
                batch, labels = change(batch, labels, float(self.config[name]), generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        hurry_norms(self.net, self.step)
        each = self._learn(batch.to(self.device), labels.to(self.device))
        self.draw.learnt(indices, each.tolist())
        self.step += 1
        self._average()
        return float(each.mean())

    def _learn(self, batch: Tensor, labels: Tensor) -> Tensor:
        """One step of the optimiser; with sam > 0 from where the loss is worst nearby (arXiv:2010.01412)."""
        each = self._backward(batch, labels)
        radius = float(self.config["sam"])
        if radius > 0:
            with torch.no_grad():
                pushed = [(p, p.grad.clone()) for p in self.net.parameters() if p.grad is not None]
                norm = torch.stack([g.norm() for _, g in pushed]).norm() + 1e-12
                for p, g in pushed:
                    p.add_(g, alpha=float(radius / norm))
            self._backward(batch, labels)
            with torch.no_grad():
                for p, g in pushed:
                    p.sub_(g, alpha=float(radius / norm))
        nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step()
        return each

    def _backward(self, batch: Tensor, labels: Tensor) -> Tensor:
        each = losses.of_items(self.net, self.net(batch), labels, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        each.mean().backward()  # type: ignore[no-untyped-call]
        return each.detach()

    def _wear(self) -> float:
        """Easy material first: wear grows over the first `curriculum_epochs`."""
        ramp = int(self.config["curriculum_epochs"])
        return float(self.config["wear"]) * min(1.0, self.epoch / ramp if ramp else 1.0)

    def _rate(self) -> float:
        warm = min(1.0, (self.step + 1) / max(1, int(self.config["warm_up"])))
        done = self.step / (int(self.config["epochs"]) * int(self.config["steps"]))
        return (
            float(self.config["learning_rate"]) * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        )

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(float(self.config["ema"]), (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _save(self, selection: float) -> None:
        if selection > self.best:
            self.best = selection
            torch.save(
                {"net": self.mean.state_dict(), "epoch": self.epoch, "config": self.config}, self.out / "best.pt"
            )
        state = {
            "net": self.net.state_dict(), "mean": self.mean.state_dict(), "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch, "step": self.step, "best": self.best, "log": self.log,
            "item_losses": torch.from_numpy(self.draw.loss),
        }  # fmt: skip
        torch.save(state, self.out / "last.tmp")
        (self.out / "last.tmp").replace(self.out / "last.pt")

    def _resume(self) -> None:
        path = self.out / "last.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.net.load_state_dict(state["net"])
        except RuntimeError as error:
            raise ValueError(f"{self.out} holds a run of another net: choose another --out.") from error
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.best, self.log = state["epoch"], state["step"], state["best"], state["log"]
        if len(state["item_losses"]) == len(self.draw.loss):
            self.draw.loss = state["item_losses"].cpu().numpy()


def hurry_norms(net: nn.Module, step: int) -> None:
    """Let batch norms forget the values they were made with: the mean of all steps at first, a moving one later.

    With the usual momentum alone, a run of a few dozen steps is judged with a variance of mostly 1, whatever the data.
    """
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = max(0.1, 1 / (step + 1))


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, spread over the list, so that an epoch's look stays short."""
    step = max(1, math.ceil(len(items) / most)) if most else 1
    return list(items[::step])


@torch.inference_mode()
def score(
    net: nn.Module, loader: Loader, items: Sequence[Item], device: torch.device | None = None
) -> NDArray[np.float64]:
    """Return the logit of each item, untouched."""
    found: list[float] = []
    for start in range(0, len(items), 8):
        batch = loader.batch([loader(item) for item in items[start : start + 8]])
        found += net(batch.to(device or "cpu"))["logit"].tolist()
    return np.asarray(found)


def judge(net: nn.Module, loader: Loader, items: Sequence[Item], device: torch.device) -> dict[str, float]:
    """Return AUROC and EER on sources that no step learnt from."""
    labels, logits = [item.is_fake for item in items], score(net, loader, items, device)
    return {"auroc": round(metrics.auroc(labels, logits), 4), "eer": round(metrics.eer(labels, logits), 4)}


def report(net: nn.Module, loader: Loader, items: Sequence[Item]) -> dict[str, Any]:
    """Return AUROC with its interval over groups, EER and counts, overall and per method against all real items."""
    labels, logits = np.array([item.is_fake for item in items], dtype=bool), score(net, loader, items)
    groups = [item.group for item in items]
    interval = metrics.bootstrap_ci(labels, logits, groups=groups)
    methods = {}
    for method in sorted({item.method for item in items if item.is_fake}):
        chosen = np.array([not i.is_fake or i.method == method for i in items])
        methods[method] = round(metrics.auroc(labels[chosen], logits[chosen]), 4)
    return {
        "auroc": round(metrics.auroc(labels, logits), 4),
        "auroc_ci": [round(value, 4) for value in interval],
        "eer": round(metrics.eer(labels, logits), 4),
        "n_real": int((~labels).sum()),
        "n_fake": int(labels.sum()),
        "auroc_by_method": methods,
    }
