"""What one score is, and the file that holds a run's scores.

A number without its protocol cannot be compared with another, so every record carries all of it:
the extractor, how many images of what size on either side, subset size, seed, weights, versions.
"""

import hashlib
import json
import os
import platform
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

import zoo
from zoo.registry import UserError

FORMAT = 1
LARGEST = 1e100  # what is above is treated as infinity
RUN = "run"  # the translator of a run's own scores
UNTRANSLATED = "untranslated"
_LIBRARIES = ("torch", "numpy", "scipy", "pillow")


@cache
def installed_versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"zoo": zoo.__version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _LIBRARIES}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number and its protocol.

    Attributes:
        metric: the score's name, a column of a metric: "fid", "kid_target", "l1" and so on.
            Distances are as their formulas give them, not times 100.
        direction: "a2b" or "b2a".
        translator: "run", "untranslated", or the name of a trivial translator.
        value: the number; None where it could not be had, for the reason in `unavailable`.
        std: spread of `value` over `spread_over`, where there is one.
        spread_over: "subsets" of KID or "images".
        low: lower end of the interval, None where there is none.
        high: its upper end.
        interval: what the interval is: "95% bootstrap over images, 1000 resamples".
        unavailable: why there is no value.
        saw_pairs: the translator was fitted on pairs, so it is a reference, not a competitor.
        extractor: the network whose features are compared, with its version; None for metrics of
            pixels.
        comparable: whether the extractor is that of published numbers; None likewise.
        extractor_sha256: hash of the extractor's file of weights, if it has one.
        reference: what the images were compared with: the target domain's "test" or "train"
            images, or "truth", the known counterpart of each.
        num_fake: images scored.
        num_real: images they were compared with.
        image_size: side in pixels of both.
        resizer: how images reached that size, and the extractor's.
        subset_size: rows of a KID subset.
        num_subsets: how many there were.
        seed: of the subsets and of the resamples.
        test_images: hash of all pixels that were translated and compared with: numbers belong
            together only if it agrees.
        weights: "raw" or "ema".
        checkpoint: "latest", "best" or "shipped".
        images_seen: by the trainer until then.
        looks: evaluations that the best checkpoint was chosen from; None for another one.
        details: further numbers of the metric by name, such as the chance level.
        versions: of Zoo, Python and the libraries.
    """

    metric: str
    direction: str
    translator: str
    value: float | None
    std: float | None = None
    spread_over: str | None = None
    low: float | None = None
    high: float | None = None
    interval: str | None = None
    unavailable: str | None = None
    saw_pairs: bool = False
    extractor: str | None = None
    comparable: bool | None = None
    extractor_sha256: str | None = None
    reference: str | None = None
    num_fake: int = 0
    num_real: int = 0
    image_size: int = 0
    resizer: str | None = None
    subset_size: int | None = None
    num_subsets: int | None = None
    seed: int | None = None
    test_images: str | None = None
    weights: str | None = None
    checkpoint: str | None = None
    images_seen: int | None = None
    looks: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=installed_versions)

    def __post_init__(self):
        if self.value is not None and not is_finite(self.value):
            object.__setattr__(self, "unavailable", f"the value is {self.value}")
            object.__setattr__(self, "value", None)
        for name in ("std", "low", "high"):
            number = getattr(self, name)
            if number is not None and not is_finite(number):
                object.__setattr__(self, name, None)

    @property
    def key(self) -> str:
        """`metric/direction`, the name in metrics.jsonl."""
        return f"{self.metric}/{self.direction}"


# Types that a file may hold. bool is an int to Python, which does no harm here.
_FIELDS: dict[str, Any] = {
    name: dict if name in ("versions", "details") else hint | int if hint == float | None else hint
    for name, hint in get_type_hints(Score).items()
}


def is_finite(value: Any) -> bool:
    """Whether it is a number of a size that can be computed with."""
    return isinstance(value, int | float) and abs(value) < LARGEST


def write_scores(path: Path, scores: Iterable[Score]) -> dict[str, Any]:
    """Write a scores file, whole or not at all, in place of the one there; return its content."""
    content = {"format": FORMAT, "records": [asdict(score) for score in scores]}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")
    return content


def read_scores(path: Path) -> list[Score]:
    """The records of a scores file.

    Raises:
        UserError: the file is missing, cut short, or not a scores file.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as scores ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("records"), list):
        raise UserError(f"{path}: is not a scores file (no list of records)")
    if content.get("format") != FORMAT:
        raise UserError(
            f"{path}: has format {content.get('format')!r}; this version reads {FORMAT}"
        )
    return [_score(record, f"{path}: record {i}") for i, record in enumerate(content["records"])]


def _score(record: Any, where: str) -> Score:
    if not isinstance(record, dict):
        raise UserError(f"{where} is not a mapping")
    values: dict[str, Any] = {"value": None}
    for name, types in _FIELDS.items():
        if name in record:
            values[name] = record[name]
        if name in values and not isinstance(values[name], types):
            raise UserError(f"{where}: {name} is {values[name]!r}")
        if name not in values and name in ("metric", "direction", "translator"):
            raise UserError(f"{where} has no {name}")
    return Score(**values)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either whole or as it was; its folder is made.

    Args:
        path: the file.
        content: text, written as UTF-8, or bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class PixelHash:
    """Hash of a series of images: sizes and pixels, not names."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, image: np.ndarray) -> None:
        """Add one uint8 image H W C."""
        self._hash.update(repr(image.shape).encode())
        self._hash.update(np.ascontiguousarray(image).data)

    def hexdigest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256."""
        return self._hash.hexdigest()[:16]
