"""Something to measure: memory of a known size, for a child process."""


def prepare(during: int, before: int = 0):
    """An action that fills `during` MiB; `before` MiB were filled and freed in preparing it."""
    bytearray(b"x") * (before * 2**20)
    return lambda: bytearray(b"x") * (during * 2**20)


def fail():
    """A target that cannot be prepared."""
    raise ValueError("nothing to measure")
