"""A comparison like those that `zoo compare` leaves, made without training."""

import base64
import io
import itertools
from functools import cache

import numpy as np
from PIL import Image, ImageFilter
from scipy import stats

from eval.comparison import Comparison, Difference, Interval, PublishedTable, RunFacts, Shown
from zoo.data.toonfaces import ToonFaces

KID = Shown(name="kid_target", title="KID × 100", scale=100, decimals=2)
SSIM = Shown(name="ssim", title="SSIM", better="higher", truth=True)
TASKS = ["photo2toon", "toon2photo"]
SEEDS = [0, 1, 2]
METRICS = [
    Shown(name="kid_target", title="KID × 100 to target", scale=100, decimals=2),
    Shown(name="fid", title="FID", decimals=1),
    Shown(name="l1", title="L1 to truth", decimals=4, truth=True),
    Shown(name="ssim", title="SSIM to truth", better="higher", decimals=3, truth=True),
]
QUALITY = {  # 0: perfect; 1: as bad as doing nothing
    "CycleGAN": 0.52,
    "U-GAT-IT, light": 0.40,
    "CUT": 0.42,
    "DiscoGAN": 0.78,
    "CycleGAN, GAN alone": 0.95,
    "U-GAT-IT without CAM": 0.47,
}
SPEED = {"CycleGAN": 11.0, "CUT": 14.5, "DiscoGAN": 19.0, "CycleGAN, GAN alone": 16.0}  # images/s
SIZE = {"CUT": 1.61e6, "DiscoGAN": 4.1e6, "U-GAT-IT, light": 9.4e6, "U-GAT-IT without CAM": 9.3e6}
_PERFECT = {"kid_target": 0.002, "fid": 8, "l1": 0.05, "ssim": 0.85}
_NOTHING = {"kid_target": 0.21, "fid": 160, "l1": 0.19, "ssim": 0.46}


def make_comparison(*, images: int = 10_000, pictures: int = 5) -> Comparison:
    """Six rows, three seeds, two tasks; scores of one quality a row, with noise over seeds.

    Args:
        images: seen by each run.
        pictures: in the grids.
    """
    rng = np.random.default_rng(0)
    made = Comparison(
        sweep="toonfaces_methods",
        description="which method translates drawn faces best, under an equal budget",
        command="zoo compare toonfaces_methods --out comparison",
        made="2026-05-04T09:30:00+00:00",
        tasks=TASKS,
        seeds=SEEDS,
        metrics=METRICS,
        rows=list(QUALITY),
        pilot="each run saw 3 000 images" if images < 5000 else None,
        protocol=dict.fromkeys(
            TASKS,
            "200 test images at 64 px against 200 of the target; features offline-v1; KID over 100 "
            "subsets of 100; intervals of 95 % from 1000 resamples.",
        ),
        comparable=dict.fromkeys(TASKS, False),
        baselines={
            "untranslated": {f"{t}/{m}": v for t in TASKS for m, v in _NOTHING.items()},
            "histogram match": {f"{t}/{m}": _between(m, 0.83) for t in TASKS for m in _NOTHING},
        },
        null_row="CycleGAN",
        null_seeds=[3, 4, 5],
        sources={t: [_url(_face(t, i, "source")) for i in range(pictures)] for t in TASKS},
        truths={t: [_url(_face(t, i, "truth")) for i in range(pictures)] for t in TASKS},
    )
    for row, quality in QUALITY.items():
        made.runs += [_run(row, quality, seed, images, pictures, rng) for seed in SEEDS]
    made.cells = {
        kind: {row: _over_seeds(made, row, kind) for row in QUALITY} for kind in ("final", "best")
    }
    for task, shown in itertools.product(TASKS, METRICS):
        _judge(made, f"{task}/{shown.name}", shown)
        small = 0.01 * (_NOTHING[shown.name] - _PERFECT[shown.name])
        made.null[f"{task}/{shown.name}"] = _difference(
            "CycleGAN, seeds 0 1 2", "CycleGAN, seeds 3 4 5", small, abs(4 * small), 0.71
        )
    for task in TASKS:
        found = {
            "kid_target": [0.86, 0.66, 0.95],
            "fid": [0.81, 0.55, 0.93],
            "ssim": [0.4, -0.2, 1],
        }
        made.correlations[task] = {"l1": found}
    made.level = {"metric": "kid_target", "task": "photo2toon", "value": 0.12}
    for row, quality in QUALITY.items():
        speed = SPEED.get(row, 6.2)
        made.costs[row] = {
            "images_per_s": speed,
            "parameters": 2 * SIZE.get(row, 2.85e6),
            "translating_parameters": SIZE.get(row, 2.85e6) / 2,
            "peak_bytes": 1.1e9 * (0.5 + SIZE.get(row, 2.85e6) / 9e6),
            "seconds": images / speed,
            "seconds_to_level": None if quality > 0.6 else 4000 / speed,
        }
    made.published = [
        PublishedTable(
            source="Kim et al. 2020, Table 1",
            metric="kid_target",
            convention="KID × 100, it seems the mean over source and target, 256 pixels",
            better="lower",
            scale=100,
            verified=False,
            values={
                "CycleGAN": {"photo2toon": [13.08, 0.49]},
                "U-GAT-IT, light": {"photo2toon": [11.61, 0.57]},
            },
        ),
        PublishedTable(
            source="Zhu et al. 2017, Table 1",
            metric="amt",
            convention="percent of trials in which the fake was called real",
            better="higher",
            scale=1,
            verified=True,
            values={"CycleGAN": {"photo2toon": [26.8, 2.8], "toon2photo": [23.2]}},
        ),
    ]
    return made


def _between(metric: str, quality: float) -> float:
    return _PERFECT[metric] + quality * (_NOTHING[metric] - _PERFECT[metric])


def _run(row, quality, seed, images, pictures, rng) -> RunFacts:
    luck = rng.normal(0, 0.03)
    scores: dict[str, dict[str, Interval]] = {"final": {}, "best": {}}
    curves = {}
    for task, shown in itertools.product(TASKS, METRICS):
        key, width = f"{task}/{shown.name}", 0.03 * abs(_NOTHING[shown.name])
        value = _between(shown.name, quality + luck)
        at = np.linspace(1000, images, 10)
        fallen = quality + luck + (1 - quality) * np.exp(-at / 2500) + rng.normal(0, 0.02, 10)
        curves[key] = [[float(x), _between(shown.name, q)] for x, q in zip(at, fallen, strict=True)]
        curves[key][-1][1] = value
        better = _between(shown.name, quality + luck - 0.02)
        scores["final"][key] = Interval(value=value, low=value - width, high=value + width)
        scores["best"][key] = Interval(value=better, low=better - width, high=better + width)
    name = row.lower().replace(" ", "_").replace(",", "")
    return RunFacts(
        id=f"{name}--photo2toon+toon2photo--seed{seed}",
        folder=f"runs/{name}--photo2toon+toon2photo--seed{seed}",
        row=row,
        seed=seed,
        tasks={"a2b": TASKS[0], "b2a": TASKS[1]},
        state="done",
        command=f"zoo train toonfaces/{name} train.seed={seed} train.images={images}",
        commit="0123abcdef",
        versions={"zoo": "0.1", "torch": "2.13.0"},
        started="2026-05-04T03:02:01+00:00",
        images=images,
        images_seen=images,
        best_images_seen=images - 2000,
        looks=10,
        parameters=int(2 * SIZE.get(row, 2.85e6)),
        translating_parameters=int(SIZE.get(row, 2.85e6) / 2),
        images_per_s=SPEED.get(row, 6.2),
        seconds=images / SPEED.get(row, 6.2),
        device="cpu",
        scores=scores,
        curves=curves,
        pictures={
            t: [_url(_face(t, i, "truth", quality, seed)) for i in range(pictures)] for t in TASKS
        },
    )


def _over_seeds(made: Comparison, row: str, kind: str) -> dict[str, Interval]:
    found = {}
    for task, shown in itertools.product(made.tasks, made.metrics):
        key = f"{task}/{shown.name}"
        values = [run.scores[kind][key].value for run in made.runs if run.row == row]
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
        half = spread / 3**0.5 * float(stats.t.ppf(0.975, 2)) * 0.6
        found[key] = Interval(
            value=mean,
            low=mean - half,
            high=mean + half,
            spread=spread,
            over="images and seeds",
            values=values,
        )
    return found


def _judge(made: Comparison, key: str, shown: Shown) -> None:
    cells = {row: made.cells["final"][row][key] for row in made.rows}
    pick = min if shown.better == "lower" else max
    best = pick(cells, key=lambda row: cells[row].value)
    made.best[key] = best
    made.differences[key] = []
    for a, b in itertools.combinations(made.rows, 2):
        value = cells[a].value - cells[b].value
        welch = stats.ttest_ind(cells[a].values, cells[b].values, equal_var=False)
        half = float(welch.confidence_interval().high) - value
        made.differences[key].append(_difference(a, b, value, half, float(welch.pvalue)))
    made.ties[key] = [
        d.b if d.a == best else d.a for d in made.differences[key] if best in (d.a, d.b) and d.tie
    ]


def _difference(a: str, b: str, value: float, half: float, p: float) -> Difference:
    return Difference(
        a=a,
        b=b,
        value=value,
        low=value - half,
        high=value + half,
        p=p,
        tie=abs(value) <= half,
        test="paired over images, Welch over 3 and 3 seeds",
    )


@cache
def _drawn(side: str, style: str) -> list[np.ndarray]:
    data = ToonFaces(ToonFaces.Config(size=64, num_test=6, num_train=1))
    images = data.domain("test", side) if side == style else data.truth(side)
    return [images[i] for i in range(6)]


def _face(task: str, number: int, what: str, quality: float = 0, seed: int = 0) -> np.ndarray:
    """A source, its truth, or the truth spoilt: mixed with the source, blurred, noisy."""
    side, other = ("a", "b") if task == TASKS[0] else ("b", "a")
    source, truth = _drawn(side, side)[number], _drawn(side, other)[number]
    if what == "source":
        return source
    rng = np.random.default_rng(seed * 100 + number)
    mixed = Image.fromarray(truth).filter(ImageFilter.GaussianBlur(1.6 * quality))
    share = quality**2 * 0.8
    noise = rng.normal(0, 12 * quality, truth.shape) + rng.normal(0, 12 * quality, (1, 1, 3))
    spoilt = (1 - share) * np.asarray(mixed, float) + share * source + noise
    return spoilt.clip(0, 255).astype(np.uint8)


def _url(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def small(**best: list[str]) -> Comparison:
    """Two rows on two tasks; `best` has the best row of each task and what ties with it."""
    made = Comparison(sweep="s", tasks=list(best), seeds=[0], metrics=[KID], rows=["one", "two"])
    made.cells = {"final": {row: {} for row in made.rows}, "best": {}}
    for task, rows in best.items():
        key = f"{task}/kid_target"
        made.best[key], made.ties[key] = rows[0], rows[1:]
        for row in made.rows:
            value = 0.1 if row == rows[0] else 0.2
            made.cells["final"][row][key] = Interval(
                value=value, low=value / 2, high=2 * value, over="images and seeds"
            )
    return made
