"""Values that a whole batch has in common, where it comes in several micro-batches.

A draw for the batch, or a power iteration that one forward of it makes, must not be made anew for
every micro-batch. Code asks for such a value by `once_a_batch(make)`; without micro-batches that
is `make()`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class BatchValues:
    """The values of one batch, in the order in which a step asks for them.

    Attributes:
        made: what the first micro-batch made.
        asked: how many of them the present one has asked for; set back to ask for them again.
    """

    active: "BatchValues | None" = None

    def __init__(self) -> None:
        self.made: list[Any] = []
        self._first, self.asked = True, 0

    @contextmanager
    def for_micro_batch(self, number: int) -> Iterator[None]:
        """Inside, `once_a_batch` begins at the first value; micro-batch 0 makes what is missing."""
        self._first, self.asked = number == 0, 0
        BatchValues.active = self
        try:
            yield
        finally:
            BatchValues.active = None

    def next(self, make: Callable[[], T]) -> T:
        """The next value."""
        known = self.asked < len(self.made)
        if self._first or not known:
            value = make()  # even if it is known: random numbers go on as they did
        if not known:
            self.made.append(value)
        self.asked += 1
        return self.made[self.asked - 1]


def once_a_batch(make: Callable[[], T]) -> T:
    """`make()`, or what it returned to the first micro-batch at this point of the step.

    Args:
        make: its value may not depend on images, and is not changed in place later.
    """
    values = BatchValues.active
    return make() if values is None else values.next(make)
