"""Run the branches over held-out sources and keep what they said: the rows that fusion.json is fitted to."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from detection.engine import fusion, media, pipeline, registry
from detection.engine.branches import physiology
from detection.engine.errors import EngineError
from detection.engine.types import Channel, CurvePoint, Evidence, Kind
from detection.training import held_out, quality_traits, splits, stacking

MOUTH_DRIVEN = ("lipsync", "reenactment")
KINDS: tuple[Kind, ...] = ("image", "video", "audio")


@dataclass(frozen=True)
class Judged:
    """One file and the log-odds of every branch that scored it."""

    path: str
    key: str  # "<data folder>/<path in the manifest>"
    label: int
    split: str
    source: str
    group: str
    method: str
    manipulation: str
    kind: Kind
    logits: dict[str, float]
    channels: dict[str, Channel]
    quality: dict[str, float]
    errors: dict[str, float]  # standard error of a branch's log-odds along the clip
    digests: dict[str, str]  # branch -> weights that were asked
    has_face: bool = False
    facts: dict[str, str] = field(default_factory=dict)  # language, sex, ...: for error gaps only

    def without(self, branches: Iterable[str]) -> Judged:
        """Return the row as if these branches had not run."""
        gone = set(branches)
        return replace(self, logits={b: x for b, x in self.logits.items() if b not in gone})


def select(manifest: Path, wanted: Sequence[str], per_source: int | None = None) -> list[dict[str, str]]:
    """Return the labelled rows of the wanted splits; of each source and label at most `per_source`, spread by hash."""
    with manifest.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["label"] in ("real", "fake")]
    lines = [line for line in lines if splits.split_of(line) in wanted]
    if per_source is None:
        return lines
    drawn = sorted(lines, key=lambda line: hashlib.sha256(line["path"].encode()).digest())
    taken: Counter[tuple[str, str, str]] = Counter()
    chosen = []
    for line in drawn:
        key = (line.get("source_repo", ""), line["label"], splits.split_of(line))
        taken[key] += 1
        if taken[key] <= per_source:
            chosen.append(line)
    return chosen


def with_fair_scores(lines: Sequence[dict[str, str]], root: Path) -> list[dict[str, str]]:
    """Return the rows without those of the training split that no branch brings a held-out score for."""
    names = held_out.branches()

    def is_fair(line: Mapping[str, str]) -> bool:
        key, label, source = held_out.key_of(root.name, line["path"]), int(line["label"] == "fake"), source_of(line)
        return any(held_out.entry_of(b, key, label=label, source=source) for b in names)

    return [line for line in lines if splits.split_of(line) != "train" or is_fair(line)]


def run(lines: Sequence[dict[str, str]], root: Path, rows_file: Path, workers: int = 2) -> Iterator[Judged]:
    """Yield what the branches say of every row, by held-out scores where there are any.

    What `rows_file` holds from the same weights is not run again, and neither is a branch whose held-out score stands.
    """
    known = {j.path: j for j in load(rows_file)}

    def one(line: dict[str, str]) -> tuple[Judged | None, bool]:
        path = root / line["path"]
        before = known.get(str(path))
        wanted = [b for b in to_ask(line, root) if before is None or is_stale(b, before)]
        return (judge(path, line, wanted, before), True) if wanted or before is None else (before, False)

    with ThreadPoolExecutor(workers) as pool, rows_file.open("a") as store:
        for judged, is_new in pool.map(one, lines):
            if judged is None:
                continue
            if is_new:
                store.write(json.dumps(asdict(judged)) + "\n")
                store.flush()
            yield with_held_out(judged)


def to_ask(line: Mapping[str, str], root: Path) -> list[str]:
    """Return the branches that have to be run on a row: those that count and bring no held-out score for it."""
    if splits.split_of(line) == "train":
        return []  # what was fitted to the row has nothing to say about it
    key, label, source = held_out.key_of(root.name, line["path"]), int(line["label"] == "fake"), source_of(line)
    return [b for b in digests() if held_out.entry_of(b, key, label=label, source=source) is None]


def is_stale(branch: str, before: Judged) -> bool:
    """Whether a branch that counts for the row has other weights now than when it was asked, or was never asked."""
    return may_count(branch, before.kind) and before.digests.get(branch) != digests()[branch]


def with_held_out(judged: Judged) -> Judged:
    """Return the row with the logits of heads that did not know its source, and without those that did.

    A row of the training split keeps only such logits: nets without an oof.csv have learnt from it.
    """
    found = {b: held_out.entry_of(b, judged.key, label=judged.label, source=judged.source) for b in digests()}
    stated = {b: held_out.log_odds(b, entry) for b, entry in found.items() if entry is not None}
    kept = {} if judged.split == "train" else judged.logits
    names = {b: x for b, x in (kept | stated).items() if b in counting(judged.kind)}
    return replace(
        judged,
        logits=names,
        channels={b: judged.channels.get(b) or channel_of(b) for b in names},
        quality={b: judged.quality.get(b, 1.0) for b in names},
        errors={b: judged.errors.get(b, 0.0) for b in names},
    )


def trained_methods(lines: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the generators and methods of the fakes in the training split."""
    return {method_of(x) for x in lines if x["label"] == "fake" and splits.split_of(x) == "train"} - {""}


def with_standing(judged: Judged, trained: Collection[str]) -> Judged:
    """Return the row with the fact `generator=trained` where a net that scored it learnt from the same generator.

    Splits are by source; a generator that several sources use may lie on both sides. Held-out heads know none of it.
    """
    if not judged.label or judged.method not in trained:
        return judged
    asked = [b for b in judged.logits if judged.channels[b] == main_channel(judged.kind)]
    fair = [held_out.entry_of(b, judged.key, label=judged.label, source=judged.source) is not None for b in asked]
    return judged if all(fair) else replace(judged, facts=judged.facts | {"generator": "trained"})


def method_of(line: Mapping[str, str]) -> str:
    return line.get("method") or line.get("system") or line.get("generator_or_camera") or ""


def channel_of(branch: str) -> Channel:
    return pipeline.channels_of_branches()[branch]


def load(rows_file: Path) -> list[Judged]:
    """Return the kept rows; of a path that was judged again, the last."""
    if not rows_file.is_file():
        return []
    return list({j.path: j for j in (Judged(**json.loads(t)) for t in rows_file.read_text().splitlines())}.values())


def digests() -> dict[str, str]:
    """Return branch -> digest of the weights it would run with, of the branches that may count."""
    found = {name: pipeline.digest_of(spec) for name, spec in registry.BRANCHES.items()}
    found["physiology"] = registry.PHYSIOLOGY[1]
    return {name: digest for name, digest in found.items() if any(may_count(name, kind) for kind in KINDS)}


def source_of(line: Mapping[str, str]) -> str:
    return line.get("source_repo", "")


def judge(path: Path, line: Mapping[str, str], wanted: Sequence[str], before: Judged | None) -> Judged | None:
    """Return the branches' log-odds on one file, those of other branches taken over; None when it cannot be decoded."""
    try:
        decoded = media.decode(path)
        quiet = pipeline.Run(pipeline.no_step, None, 0)
        scene = pipeline.build_scene(decoded, path, quiet)
        asked = [name for name in wanted if may_count(name, decoded.info.kind)]
        evidence = [quiet.branch(name, scene) for name in asked]
    except EngineError:
        return None
    scored = {e.branch: e for e in evidence if e.score is not None}
    kept = [b for b in before.logits if b not in wanted and b in digests()] if before else []
    old = before.digests if before else {}
    return Judged(
        path=str(path),
        key=held_out.key_of(folder_of(path, line["path"]), line["path"]),
        label=int(line["label"] == "fake"),
        split=splits.split_of(line),
        source=source_of(line),
        group=splits.bootstrap_group(line),
        method=method_of(line),
        manipulation=line.get("manipulation") or line.get("category") or line.get("kind") or "",
        kind=decoded.info.kind,
        logits={b: before.logits[b] for b in kept if before} | fusion.logits_of(scored),
        channels={b: before.channels[b] for b in kept if before} | {b: e.channel for b, e in scored.items()},
        quality={b: before.quality[b] for b in kept if before}
        | {b: 1.0 if e.quality is None else e.quality for b, e in scored.items()},
        errors={b: before.errors[b] for b in kept if before} | {b: fusion.curve_error(e) for b, e in scored.items()},
        digests=old | {b: digests()[b] for b in asked},
        has_face=bool(scene.tracks),
        facts=quality_traits.stated(line) | quality_traits.tone(scene),
    )


def folder_of(path: Path, relative: str) -> str:
    """Return the name of the folder that a manifest's path counts from."""
    return path.parents[len(Path(relative).parts) - 1].name


def shows_face(judged: Judged) -> bool:
    """Whether serving judges this picture as one with a face: a face branch scored, be it only for information."""
    if fusion.FACE_BRANCHES.intersection(judged.logits):
        return True
    return judged.has_face and bool(fusion.FACE_BRANCHES - counting(judged.kind))


def is_complete(judged: Judged) -> bool:
    """Whether every branch that counts here could be asked fairly: False for a training row that one learnt from."""
    if judged.split != "train":
        return True
    wanted = {b for b in counting(judged.kind) if channel_of(b) == main_channel(judged.kind)}
    return wanted - (set() if judged.has_face else fusion.FACE_BRANCHES) <= set(judged.logits)


def main_channel(kind: Kind) -> Channel:
    """Return the channel that a file's label speaks of. Of a clip, only the picture is labelled."""
    return "voice" if kind == "audio" else "picture"


def rows_of(judged: Sequence[Judged]) -> dict[str, list[stacking.Row]]:
    """Return the rows of each domain. Of a clip, only the picture is labelled: its sound may be genuine."""
    domains: dict[str, list[stacking.Row]] = defaultdict(list)
    for j in judged:
        for channel in fusion.STACKED_CHANNELS:
            domain = domain_of(j, channel)
            logits = {b: x for b, x in j.logits.items() if j.channels[b] == channel and may_count(b, j.kind)}
            if domain and logits:
                row = stacking.Row(j.path, j.label, j.source, j.group, domain, channel, logits)
                domains[domain].append(row)
    return dict(domains)


def domain_of(judged: Judged, channel: Channel) -> str | None:
    """Return the domain that a row teaches in a channel; None where its label does not speak of that channel."""
    if channel == main_channel(judged.kind):
        return "voice" if channel == "voice" else f"{judged.kind}_{'face' if shows_face(judged) else 'scene'}"
    if channel == "synchrony" and judged.kind == "video":
        return "synchrony" if not judged.label or judged.manipulation in MOUTH_DRIVEN else None
    return None


def may_count(branch: str, kind: Kind) -> bool:
    """Whether a branch has a say in the verdict on media of a kind: weight earned on clips counts for no still."""
    if branch == "physiology":
        return physiology.load().is_fused
    return registry.BRANCHES[branch].counts_for(kind)


def counting(kind: Kind) -> set[str]:
    return {branch for branch in digests() if may_count(branch, kind)}


def evidence_of(judged: Judged) -> list[Evidence]:
    """Return what the engine would have been told about a row: score, quality and doubt of each branch."""
    evidence = [_said(judged, branch) for branch in judged.logits]
    unseen = sorted(fusion.FACE_BRANCHES - counting(judged.kind))
    if shows_face(judged) and not fusion.FACE_BRANCHES.intersection(judged.logits):
        # In serving a face check that does not count still tells the fusion that there is a face.
        evidence.append(Evidence(unseen[0], "picture", "scored", "", score=0.5))
    return evidence


def _said(judged: Judged, branch: str) -> Evidence:
    x, error = judged.logits[branch], judged.errors[branch]
    # Two points that differ by twice the standard error have that standard error.
    curve = [CurvePoint(i, i + 1.0, fusion.sigmoid(x + side * error)) for i, side in enumerate((-1, 1)) if error]
    quality = judged.quality[branch]
    channel = judged.channels[branch]
    return Evidence(branch, channel, "scored", "", score=fusion.sigmoid(x), quality=quality, curve=tuple(curve))
