"""Which state of a training is the best so far, and when to stop waiting for a better one."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Best:
    """The best score so far.

    Attributes:
        score: the score; None before there is one.
        images_seen: when it was taken.
        over: training was ended, as none was better for too long; a resumed run stays ended.
    """

    score: float | None = None
    images_seen: int = 0
    over: bool = False

    def offer(self, score: float | None, images_seen: int, *, higher: bool) -> bool:
        """Take a new score; whether it is the best. What is not a finite number never is."""
        if score is None or not math.isfinite(score):
            return False
        if self.score is not None and (score <= self.score if higher else score >= self.score):
            return False
        self.score, self.images_seen = score, images_seen
        return True

    def wait(self, images_seen: int, patience: int) -> None:
        """Set `over` where `patience` images, if any, have passed without a better score."""
        self.over = bool(patience) and images_seen - self.images_seen >= patience

    def told(self, images_seen: int) -> str:
        """Why training has ended, in words."""
        if self.score is None:
            return f"at {images_seen} images; none of them gave a score"
        since = f"the best score, {self.score:.4g}, was taken at {self.images_seen}"
        return f"at {images_seen} images; {since}"

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: Any) -> "Best":
        """From a checkpoint; older ones keep the score alone."""
        return cls(**state) if isinstance(state, dict) else cls(state)
