"""An adaptation's tables, for the terminal and for Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from eval.adaptation.recipe import SCORES

TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "per class",
    "ece": "calibration error",
    "pixel_accuracy": "per pixel",
    "class_accuracy": "per class",
    "mean_iou": "mean IoU",
}
_NAMES = {
    "oracle": "oracle: target's labels",
    "source": "source only",
    "translated": "translated",
    "source+translated": "source + translated",
    "histogram_match": "control: histogram match",
    "reinhard": "control: Reinhard",
    "fda": "control: FDA",
    "grayscale": "control: grayscale, test too",
}
Table = tuple[list[str], list[list[str]]]


def title_of(row: str) -> str:
    """An arm's or style's name for people."""
    return _NAMES.get(row, row)


def score_table(content: dict[str, Any], brief: bool = False) -> Table:
    """One row an arm: scores in percent with intervals, and the gap closed.

    Args:
        content: of adaptation.json.
        brief: for a terminal: without the calibration error, and one share of the gap.
    """
    names = [name for name in SCORES[content["task"]] if not (brief and name == "ece")]
    closing = [name for name in names if name in content["gap"]]
    if brief:
        closing = closing[-1:]
    heads = ["trained on", *(f"{TITLES[n]} %" for n in names)]
    heads += [f"gap closed, {TITLES[n]}" for n in closing]
    rows = []
    for arm, found in content["arms"].items():
        cells = [_interval(found["scores"][name]) for name in names]
        closed = [_closed(found["gap_closed"].get(n), content["gap"][n]) for n in closing]
        rows.append([title_of(arm), *cells, *closed])
    return heads, rows


def _interval(score: dict[str, Any]) -> str:
    text = f"{100 * score['value']:.1f}"
    if score["spread"] is not None:
        text += f" ± {100 * score['spread']:.1f}"
    if score["low"] is not None:
        low, high = max(score["low"], 0), min(score["high"], 1)  # Student's t knows no limits
        text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text


def _closed(value: float | None, gap: dict[str, Any]) -> str:
    if value is None:
        return ""
    return f"{round(100 * value)} %" + (" (?)" if gap["flag"] else "")


def style_table(content: dict[str, Any], brief: bool = False) -> Table:
    """One row a style: distance to the target, and whether labels still fit.

    Args:
        content: of adaptation.json.
        brief: for a terminal: one score for each reader.
    """
    distances = content["distances"]
    names = [name for name in SCORES[content["task"]] if name != "ece"]
    names = names[-1:] if brief else names
    readers = list(content["consistency"])
    heads = ["held-out source images", "FID", "KID × 100"]
    heads += [f"{TITLES[n]} %, read by {reader}" for reader in readers for n in names]
    rows = []
    for style, found in distances["styles"].items():
        cells = [_number(found["fid"], 1), _number(found["kid"], 2, 100)]
        for reader in readers:
            scores = content["consistency"][reader][style]
            cells += [_number(scores[name], 1, 100) for name in names]
        rows.append([title_of(style), *cells])
    return heads, rows


def _number(value: float | None, decimals: int, scale: float = 1) -> str:
    return "none" if value is None else f"{scale * value:.{decimals}f}"


def class_table(content: dict[str, Any]) -> Table:
    """One row a class that the test images hold: accuracy, or IoU of pixels, of every arm."""
    kind = "iou" if content["task"] == "segmentation" else "accuracy"
    arms = list(content["arms"])
    rows = [
        [name, *(_number(content["arms"][arm]["classes"][kind][name], 1, 100) for arm in arms)]
        for name in content["classes"]
        if any(content["arms"][arm]["classes"]["accuracy"][name] is not None for arm in arms)
    ]
    return [f"{'IoU' if kind == 'iou' else kind} %", *arms], rows


def published_table(table: dict[str, Any]) -> Table:
    """A table of the literature, as printed."""
    names = list(dict.fromkeys(name for row in table["values"].values() for name in row))
    rows = [
        [title_of(row), *(f"{v[n]:g}" if n in v else "" for n in names)]
        for row, v in table["values"].items()
    ]
    return ["trained on", *(TITLES[name] for name in names)], rows


def notes(content: dict[str, Any]) -> Iterator[str]:
    """What has to be said beside the tables."""
    seeds = content["seeds"]
    yield (
        f"{content['data']['target_test']} test images; mean over {len(seeds)} seeds ± their "
        f"standard deviation, [95 % over images and seeds]. {content['model']}, "
        f"{content['steps']} steps of {content['batch']} images in every arm; the step was chosen "
        f"on held-out source images (oracle: on held-out target training images)."
    )
    for name, gap in content["gap"].items():
        if gap["flag"]:
            yield f"(?) {TITLES[name]}: {gap['flag']}."
    distances = content["distances"]
    if not distances["comparable"]:
        yield (
            f"FID and KID to target training images by {distances['extractor']}, which is not "
            f"comparable with published numbers."
        )
    for reason in content["guards"]["unchecked"]:
        yield f"Not checked for leaks: {reason}."
    for row in content["arms"].values():
        for name, score in row["scores"].items():
            if score["low"] is None:
                yield f"{TITLES[name]}: no interval could be computed."
                return


def markdown(content: dict[str, Any]) -> str:
    """The tables as a Markdown file."""
    parts = [f"# {content['recipe'] or 'Adaptation'}"]
    if content["description"]:
        parts.append(f"{content['description'][:1].upper()}{content['description'][1:]}.")
    if content["command"]:
        parts.append("```sh\n" + " ".join(content["command"]) + "\n```")
    parts += [_markdown_table(score_table(content)), *notes(content)]
    parts += ["## Does a style keep its labels", _markdown_table(style_table(content))]
    parts += ["## Classes", _markdown_table(class_table(content))]
    for table in content["published"]:
        doubt = "" if table["verified"] else " (not verified)"
        parts += [f"## Published: {table['source']}{doubt}", table["convention"] + "."]
        parts.append(_markdown_table(published_table(table)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    heads, rows = table

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(heads), line(["---"] * len(heads)), *map(line, rows)])
