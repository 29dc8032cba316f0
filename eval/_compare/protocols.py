"""Which scores may stand in one column: those of one protocol only.

Numbers of another extractor, image size, set of test images or kind of subsets are left out, and
the runs that have them are named.
"""

from collections import Counter
from collections.abc import Sequence

from eval._compare.reading import ReadRun
from eval.comparison import Comparison
from eval.scores import Score

# Of a record: two numbers belong into one column only if all of these agree.
_SAME = (
    "extractor",
    "extractor_sha256",
    "reference",
    "num_fake",
    "num_real",
    "image_size",
    "resizer",
    "subset_size",
    "num_subsets",
    "seed",
    "test_images",
)


def protocol_of(score: Score) -> tuple:
    """What must agree."""
    return tuple(getattr(score, name) for name in _SAME)


def keep_one_protocol(made: Comparison, runs: Sequence[ReadRun]) -> dict[str, tuple]:
    """For every column keep the scores of the protocol that most runs have; tell of the others.

    The same protocol holds for final, best and untranslated images. Ties go to the first run.

    Returns:
        "task/metric" -> that protocol.
    """
    protocols: dict[str, tuple] = {}
    for task in made.tasks:
        left_out: dict[str, list[str]] = {}  # what differs -> runs
        for shown in made.metrics:
            key = f"{task}/{shown.name}"
            found = [run.scores["final"][key] for run in runs if key in run.scores["final"]]
            if not found:
                continue
            kept = Counter(map(protocol_of, found)).most_common(1)[0][0]
            protocols[key] = kept
            for run in runs:
                own = [scores[key] for scores in run.scores.values() if key in scores]
                others = [score for score in own if protocol_of(score) != kept]
                if others:
                    left_out.setdefault(_apart(others[0], kept), []).append(run.facts.id)
                for scores in (*run.scores.values(), run.untranslated):
                    if key in scores and protocol_of(scores[key]) != kept:
                        del scores[key]
        for what, ids in left_out.items():
            made.warnings.append(
                f"{task}: scores by another protocol are left out ({what}): "
                f"{', '.join(dict.fromkeys(ids))}"
            )
    return protocols


def _apart(score: Score, kept: tuple) -> str:
    """What is unlike: "extractor inception-v3-tf instead of offline-v1"."""
    pairs = zip(_SAME, protocol_of(score), kept, strict=True)
    return ", ".join(
        f"{name} {own} instead of {wanted}" for name, own, wanted in pairs if own != wanted
    )


def protocol_sentence(scores: Sequence[Score]) -> str:
    """One sentence on images, sizes, extractor, subsets, resamples of a task's scores."""

    def each(name: str) -> str:
        values = dict.fromkeys(getattr(score, name) for score in scores)
        return " or ".join(str(value) for value in values if value is not None)

    featured = [score for score in scores if score.subset_size or score.metric == "fid"]
    text = f"{each('num_fake')} test images at {each('image_size')} px"
    if featured:
        against = dict.fromkeys(f"{s.num_real} {s.reference} images" for s in featured)
        text += f", FID and KID against {' or '.join(against)} of the target"
        text += f", features {' or '.join(dict.fromkeys(str(s.extractor) for s in featured))}"
    kids = [score for score in scores if score.subset_size]
    if kids:
        shown = dict.fromkeys(f"{s.num_subsets} subsets of {s.subset_size}" for s in kids)
        text += f"; KID over {' or '.join(shown)}, seed {kids[0].seed}"
    intervals = each("interval")
    text += f"; intervals: {intervals}" if intervals else ""
    hashes = each("test_images")
    return text + (f"; test images {hashes}." if hashes else ".")
