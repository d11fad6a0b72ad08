"""Make pairs of a real picture and a fake of it, worn and saved alike, with masks and a manifest."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from detection.engine import faces
from detection.training.blending import shape_distance
from detection.training.forgeries import chains, documents, expressions, recapture, swaps
from detection.training.forgeries.forged import Box, Floats, Forged, Image, NotForgeable

PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
CIRCLE = 4  # people of one source who lend each other faces; they stay on one side of every split
LONGEST_PX = 1600
SAVED_QUALITY = 95
LANDMARKS = 468
COLUMNS = (
    "path", "label", "kind", "method", "manipulation", "source_repo", "subject_group", "licence", "split", "parent",
    "donor", "mask", "boxes", "chain", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A real picture of the manifest."""

    path: str  # as the manifest has it
    file: Path
    source_repo: str
    group: str
    licence: str
    split: str


@dataclass(eq=False)
class Subject:
    """A picture that was read, and its face once somebody asks for it."""

    source: Source
    image: Image
    _points: Floats | None = field(default=None, repr=False)

    @property
    def points(self) -> Floats:
        """(468, 2) FaceMesh points of the largest face. Raises NotForgeable without one."""
        if self._points is None:
            found = [face.landmarks for face in faces.find_faces(self.image) if face.landmarks is not None]
            if not found:
                raise NotForgeable("no face was found")
            self._points = np.asarray(found[0][:LANDMARKS, :2], np.float32)
        return self._points


Forge = Callable[[Subject, Subject | None, np.random.Generator], Forged]


@dataclass(frozen=True)
class Method:
    """How a kind of fake is made, and what it needs."""

    forge: Forge
    needs_donor: bool
    manipulation: str  # as the manifests of real fakes call it


def _swap(subject: Subject, donor: Subject | None, rng: np.random.Generator) -> Forged:
    assert donor is not None
    return swaps.face_swap(subject.image, subject.points, donor.image, donor.points, swaps.draw_recipe(rng))


def _portrait(subject: Subject, donor: Subject | None, rng: np.random.Generator) -> Forged:
    assert donor is not None
    return documents.portrait_swap(subject.image, donor.image, rng)


METHODS: Mapping[str, Method] = {
    "face_swap": Method(_swap, True, "faceswap"),
    "expression": Method(
        lambda subject, _, rng: expressions.express(subject.image, subject.points, expressions.draw_recipe(rng)),
        False,
        "reenactment",
    ),
    "portrait_swap": Method(_portrait, True, "splice"),
    "retype": Method(lambda subject, _, rng: documents.retype(subject.image, rng), False, "splice"),
    "erase": Method(lambda subject, _, rng: documents.erase(subject.image, rng), False, "splice"),
    "copy_move": Method(lambda subject, _, rng: documents.copy_move(subject.image, rng), False, "splice"),
    "stamp": Method(lambda subject, _, rng: documents.stamp(subject.image, rng), False, "splice"),
    "signature": Method(lambda subject, _, rng: documents.signature(subject.image, rng), False, "splice"),
    "recapture": Method(
        lambda subject, _, rng: recapture.as_forgery(subject.image, recapture.draw_recipe(rng)), False, "recapture"
    ),
}


def read_sources(manifest: Path, root: Path) -> list[Source]:
    """Return the real pictures of a manifest. Raises ValueError when it lacks columns or holds none."""
    with manifest.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"path", "label"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{manifest} lacks the column {', '.join(sorted(missing))}")
        rows = [row for row in reader if row["label"] == "real"]
    rows = [row for row in rows if Path(row["path"]).suffix.lower() in PICTURE_ENDINGS]
    if not rows:
        raise ValueError(f"{manifest} lists no real picture ({', '.join(sorted(PICTURE_ENDINGS))})")
    return [
        Source(
            path=row["path"],
            file=root / row["path"],
            source_repo=row.get("source_repo") or "",
            group=row.get("subject_group") or row.get("group") or row["path"],
            licence=row.get("licence") or "",
            split=row.get("split") or "",
        )
        for row in rows
    ]


def circles(sources: Sequence[Source], seed: int) -> dict[tuple[str, str], str]:
    """Return, per (source, group), the name of the circle of people that lend each other faces.

    A fake belongs to both of its parents. Were donors drawn from everybody, all people of a source would hang
    together; within circles of a few, real and fake carry the circle's name and no split can part them. A circle
    stays within one source and one stated split, so that a source left out takes all of its faces along.
    """
    members: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        known = members.setdefault((source.source_repo, source.split), [])
        if source.group not in known:
            known.append(source.group)
    named: dict[tuple[str, str], str] = {}
    for number, ((repo, _), groups) in enumerate(sorted(members.items())):
        order = np.random.default_rng([seed, number]).permutation(len(groups))
        parts = max(1, len(groups) // CIRCLE)
        for part in np.array_split(order, parts):
            name = "+".join(sorted(groups[i] for i in part))
            named |= {(repo, groups[i]): name for i in part}
    return named


@dataclass(frozen=True, eq=False)
class Pair:
    """A real picture and the fake of it, after the same chain."""

    real: Image
    fake: Image
    mask: Image
    boxes: tuple[Box, ...]
    chain: chains.Chain
    parent: Source
    donor: Source | None
    group: str
    seed: int


def make_pairs(
    method: str, sources: Sequence[Source], count: int, seed: int, chain_names: tuple[str, ...] | None = None
) -> Iterator[Pair | str]:
    """Yield up to `count` pairs, and a sentence for every picture that cannot be forged so. Deterministic by seed.

    Each picture is visited once before any is visited again; after three rounds without enough pairs it ends.
    """
    chosen, named = METHODS[method], circles(sources, seed)
    by_circle: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        by_circle.setdefault((source.source_repo, named[source.source_repo, source.group]), []).append(source)
    made = 0
    for visit in range(3 * len(sources)):
        if made == count:
            return
        rng = np.random.default_rng([seed, visit])
        order = np.random.default_rng([seed, 1_000_000 + visit // len(sources)]).permutation(len(sources))
        source = sources[order[visit % len(sources)]]
        circle = named[source.source_repo, source.group]
        try:
            subject = Subject(source, _read(source.file))
            others = [one for one in by_circle[source.source_repo, circle] if one.group != source.group]
            donor = _donor(subject, others, rng) if chosen.needs_donor else None
            forgery = chosen.forge(subject, donor, rng)
        except NotForgeable as error:
            yield f"{source.path}: {error}"
            continue
        chain = chains.draw(rng, chain_names)
        made += 1
        yield Pair(
            real=chains.apply(subject.image if forgery.genuine is None else forgery.genuine, chain),
            fake=chains.apply(forgery.image, chain),
            mask=chains.apply_mask(forgery.mask, chain),
            boxes=forgery.boxes,
            chain=chain,
            parent=source,
            donor=donor.source if donor else None,
            group=circle if donor else source.group,
            seed=seed,
        )


def _donor(subject: Subject, others: Sequence[Source], rng: np.random.Generator) -> Subject:
    """Return the one of three others whose face is turned and shaped most alike."""
    if not others:
        raise NotForgeable("its source holds no picture of another person")
    found = []
    for number in rng.permutation(len(others))[:3]:
        candidate = Subject(others[number], _read(others[number].file))
        try:
            found.append((shape_distance(candidate.points, subject.points), candidate))
        except NotForgeable:
            continue
    if not found:
        raise NotForgeable("no face was found in pictures of others of its source")
    return min(found, key=lambda pair: pair[0])[1]


def _read(path: Path) -> Image:
    if not path.is_file():
        raise NotForgeable("the file does not exist")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise NotForgeable("the picture cannot be read")
    scale = LONGEST_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def write_pair(pair: Pair, method: str, number: int, out: Path, ending: str) -> list[dict[str, str]]:
    """Write real, fake and mask below `out`; return the rows of the manifest. ending: "jpg" or "png", for both alike.

    The boxes are those of the forgery before the chain; the mask went through the chain's crops and sizes.
    """
    name = f"{method}-{number:05d}"
    mask_path = f"mask/{name}.png"
    for path, image in ((f"real/{name}.{ending}", pair.real), (f"fake/{name}.{ending}", pair.fake)):
        _write(out / path, image[:, :, ::-1])
    _write(out / mask_path, pair.mask)
    shared = {
        "kind": "image",
        "source_repo": pair.parent.source_repo,
        "subject_group": pair.group,
        "licence": _licences(pair),
        "split": pair.parent.split,
        "parent": pair.parent.path,
        "chain": str(pair.chain),
        "seed": str(pair.seed),
    }
    real = {"path": f"real/{name}.{ending}", "label": "real", "method": "real", "manipulation": "none"}
    fake = {
        "path": f"fake/{name}.{ending}",
        "label": "fake",
        "method": method,
        "manipulation": METHODS[method].manipulation,
        "donor": pair.donor.path if pair.donor else "",
        "mask": mask_path,
        "boxes": json.dumps([asdict(box) for box in pair.boxes]),
    }
    return [real | shared, fake | shared]


def _licences(pair: Pair) -> str:
    """A fake stands under the licences of both parents."""
    names = [pair.parent.licence, pair.donor.licence if pair.donor else ""]
    return " AND ".join(dict.fromkeys(name for name in names if name))


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    how = [cv2.IMWRITE_JPEG_QUALITY, SAVED_QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), image, how):
        raise OSError(f"{path} cannot be written")


def write_manifest(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
