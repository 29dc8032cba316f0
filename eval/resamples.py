"""The file of the numbers behind the intervals of scores.json, for paired tests between runs.

`resamples.npz` holds, by `key_of` a score:

    "run/kid_target/a2b"       float32 (resamples,), the score on each bootstrap resample
    "per_image/run/l1/a2b"     float32 (n,), one number for each translation

Resample k has the same images in every file whose records agree in `test_images`, `seed` and
`num_fake` (`num_real` for the images compared with), so a difference between two runs is taken
resample by resample.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from eval.scorer import Outcome
from eval.scores import Score, write_whole
from zoo.registry import UserError

FILE = "resamples.npz"
PER_IMAGE = "per_image/"


def key_of(score: Score) -> str:
    """`translator/metric/direction`; the best checkpoint's begin with `best/`."""
    first = "best/" if score.checkpoint == "best" else ""
    return f"{first}{score.translator}/{score.key}"


def write_resamples(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write the file, whole or not at all, in place of the one there."""
    arrays: dict[str, np.ndarray] = {}
    for score, resampled, per_image in outcomes:
        if resampled is not None:
            arrays[key_of(score)] = np.asarray(resampled, np.float32)
        if per_image is not None and score.value is not None:
            arrays[PER_IMAGE + key_of(score)] = np.asarray(per_image, np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def read_resamples(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a file, by key; files with pickled objects are refused.

    Raises:
        UserError: the file is missing, cut short, or not such a file.
    """
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path}: cannot be read as resamples ({error})") from None
