"""Which metrics are computed, and how their scores are called and shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metric import Column, Metric
from eval.scores import Score
from zoo.create import create_metric
from zoo.downloads import MissingWeights
from zoo.registry import METRICS, UserError, nearest

AUTO = "auto"


@dataclass(frozen=True)
class Chosen:
    """One metric that is to be computed.

    Attributes:
        name: in the registry.
        owner: its class.
        metric: the instance; None where its weights are missing, as `reason` says.
        named: somebody asked for it by its name, so what it lacks has to be said.
    """

    name: str
    owner: Any
    metric: Metric | None
    reason: str | None
    named: bool


def metric_names() -> list[str]:
    """All metrics in the order of columns: of features, to the truth, others; usual ones first."""

    def rank(name: str) -> tuple[int, bool, str]:
        owner: Any = METRICS[name]
        group = 0 if "features" in owner.needs else 1 if "pairs" in owner.needs else 2
        return group, getattr(owner, "default", "") != "always", name

    return sorted(METRICS.names(), key=rank)


def columns() -> dict[str, Column]:
    """How every known score is shown, in the order of columns."""
    owners: list[Any] = [METRICS[name] for name in metric_names()]
    return {score: column for owner in owners for score, column in owner.columns.items()}


def column_of(score: str) -> Column:
    """How a score is shown; one that no installed metric has, by its name."""
    return columns().get(score) or Column(score, "lower")


def of_features(score: Score) -> bool:
    """Whether a score is a distance on the features of the evaluation's extractor."""
    owner = owner_of(score.metric)
    if owner is None:
        return score.extractor is not None and score.reference in ("test", "train")
    needs: frozenset[str] = METRICS[owner].needs  # type: ignore[attr-defined]
    return "features" in needs


def owner_of(score: str) -> str | None:
    """The metric that computes a score: "kid" for "kid_target"."""
    for name in METRICS.names():
        if score in METRICS[name].columns:  # type: ignore[attr-defined]
            return name
    return None


def choose(
    names: Sequence[str] | str = AUTO,
    *,
    settings: Mapping[str, Any] | None = None,
    training: bool = False,
) -> list[Chosen]:
    """The metrics of these names, in the order of columns.

    Args:
        names: "auto" stands for those that are computed by default; a score's name for its metric.
        settings: fields of metrics by the metric's name, `{"kid": {"subset_size": 50}}`.
        training: leave out of "auto" what is for finished runs only.

    Raises:
        UserError: no such metric, field or value.
    """
    names = [names] if isinstance(names, str) else names
    named = {_known(name) for name in names if name != AUTO}
    wanted = named | (set(_defaults(training)) if AUTO in names else set())
    settings = settings or {}
    for name in settings:
        METRICS[name]  # refuses one that does not exist
    return [
        _chosen(name, settings.get(name), name in named)
        for name in metric_names()
        if name in wanted
    ]


def _defaults(training: bool) -> list[str]:
    kinds = ("always",) if training else ("always", "evaluation")
    return [name for name in METRICS.names() if getattr(METRICS[name], "default", "") in kinds]


def _known(name: str) -> str:
    if name in METRICS:
        return name
    owner = owner_of(name)
    if owner is None:
        choices = [*METRICS.names(), *columns()]
        raise UserError(
            f"there is no metric {name!r}.{nearest(name, choices)} "
            f"Metrics: {', '.join([AUTO, *metric_names()])}"
        )
    return owner


def _chosen(name: str, settings: Any, named: bool) -> Chosen:
    if settings is not None and not isinstance(settings, Mapping):
        raise UserError(f"settings of metric {name!r} are {settings!r}, not a mapping of fields")
    try:
        return Chosen(name, METRICS[name], create_metric(name, **(settings or {})), None, named)
    except MissingWeights as error:
        return Chosen(name, METRICS[name], None, str(error), named)
