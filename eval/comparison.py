"""What a comparison holds: the runs of a sweep, their scores with intervals, what is a tie.

`eval.compare` makes it from run folders, tables and the page show it; between them lies a file,
`comparison.json`. Values are as metrics compute them; a `Shown` says how they are printed.
"""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Shown:
    """How a metric is printed.

    Attributes:
        name: of the score, "kid_target".
        title: heading.
        better: "lower" or "higher".
        scale: printed value over the stored one.
        decimals: printed.
        truth: the score compares each image with its known counterpart.
    """

    name: str
    title: str
    better: str = "lower"
    scale: float = 1
    decimals: int = 3
    truth: bool = False


@dataclass(kw_only=True)
class Interval:
    """A value and where it could as well be.

    Attributes:
        value: the mean over seeds, or the score of one run.
        low: lower end; None where there is no interval, as for one seed without resamples.
        high: upper end.
        spread: standard deviation over seeds (n - 1); None for one.
        over: what the interval is over: "images", "seeds", "images and seeds".
        values: one for each seed, in the order of the seeds.
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    over: str = "images"
    values: list[float] = field(default_factory=list)


@dataclass(kw_only=True)
class RunFacts:
    """One run.

    Attributes:
        id: name of its folder.
        folder: path from comparison.json's folder, for links.
        row: label of its row.
        seed: of everything random.
        tasks: columns by direction.
        state: "done", "unfinished", "missing" or "failed".
        reason: why its last process failed.
        command: that makes it.
        commit: of the code that trained it.
        versions: of libraries.
        started: ISO time.
        images: it was to see.
        images_seen: it saw.
        best_images_seen: when its best checkpoint was saved; None: none was kept.
        looks: evaluations that "best" was chosen from.
        parameters: of all networks.
        translating_parameters: of what translates.
        images_per_s: median in training.
        seconds: of training.
        peak_bytes: of memory in training; None where it was not recorded.
        device: "cpu" or the GPU's name.
        scores: "final" and "best" -> "task/metric" -> value with its interval over images.
        curves: "task/metric" -> [[images, value], …] during training.
        pictures: task -> data URLs of its translations, in the order of `Comparison.sources`.
        warnings: what is missing or broken.
    """

    id: str
    folder: str
    row: str
    seed: int
    tasks: dict[str, str]
    state: str
    reason: str | None = None
    command: str = ""
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    started: str | None = None
    images: int = 0
    images_seen: int = 0
    best_images_seen: int | None = None
    looks: int = 0
    parameters: int = 0
    translating_parameters: int = 0
    images_per_s: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    device: str | None = None
    scores: dict[str, dict[str, Interval]] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    pictures: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Difference:
    """Two rows on the same test images.

    Attributes:
        a: label of a row.
        b: label of the other.
        value: mean of a less mean of b.
        low: lower end of its interval.
        high: upper end.
        p: two-sided; None where it cannot be had.
        p_holm: the same for all pairs of rows of this score together, by Holm's method.
        tie: the interval holds 0.
        test: what was done, in words: "paired over images, Welch over 3 and 3 seeds".
    """

    a: str
    b: str
    value: float
    low: float | None
    high: float | None
    p: float | None
    tie: bool
    test: str
    p_holm: float | None = None


@dataclass(kw_only=True)
class PublishedTable:
    """A table of the literature beside ours; fields as in `zoo.sweep.Published`."""

    source: str
    metric: str
    convention: str
    better: str
    scale: float
    verified: bool
    values: dict[str, dict[str, list[float]]]  # row -> task -> [value] or [value, spread]


@dataclass(kw_only=True)
class Comparison:
    """Everything that is shown.

    Attributes:
        sweep: its name.
        description: one line.
        command: that made this.
        made: ISO time.
        tasks: columns.
        seeds: of every row.
        metrics: scores shown, in order.
        rows: labels, in order.
        pilot: why the table is a pilot only (fewer than 5 000 images a run), or None.
        protocol: task -> one sentence on images, sizes, extractor, subsets, resamples.
        comparable: task -> whether features are those of published numbers.
        runs: all of them.
        cells: "final" and "best" -> row -> "task/metric" -> over seeds.
        baselines: label ("untranslated", trivial translators) -> "task/metric" -> value.
        best: "task/metric" -> the row whose final mean is best.
        ties: "task/metric" -> rows whose difference from the best is a tie.
        differences: "task/metric" -> every pair of rows.
        null: the same row with two sets of seeds, "task/metric" -> difference; what chance makes.
        null_row: that row, and
        null_seeds: its further seeds.
        correlations: task -> distance to the truth ("l1", "lpips") -> metric -> [rank correlation
            of the two, low, high] over the final scores of all runs that are done; 1: the metric
            orders them as the truth does, whichever values are better.
        costs: row -> {"images_per_s", "parameters", "translating_parameters", "peak_bytes",
            "seconds", "seconds_to_level"}: means over its runs, None where unknown.
        level: the score that `seconds_to_level` waits for, as {"metric", "task", "value"}.
        published: tables of the literature.
        sources: task -> data URLs of the test images in the grids.
        truths: task -> data URLs of their counterparts, where known.
        warnings: of the whole.
    """

    sweep: str
    description: str = ""
    command: str = ""
    made: str = ""
    tasks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    metrics: list[Shown] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    pilot: str | None = None
    protocol: dict[str, str] = field(default_factory=dict)
    comparable: dict[str, bool] = field(default_factory=dict)
    runs: list[RunFacts] = field(default_factory=list)
    cells: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    best: dict[str, str] = field(default_factory=dict)
    ties: dict[str, list[str]] = field(default_factory=dict)
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    null: dict[str, Difference] = field(default_factory=dict)
    null_row: str | None = None
    null_seeds: list[int] = field(default_factory=list)
    correlations: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    costs: dict[str, dict[str, float | None]] = field(default_factory=dict)
    level: dict[str, str | float] | None = None
    published: list[PublishedTable] = field(default_factory=list)
    sources: dict[str, list[str]] = field(default_factory=dict)
    truths: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
