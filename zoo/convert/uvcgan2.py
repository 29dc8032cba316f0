"""Names of LS4GAN/uvcgan2, of which no checkpoint can be imported yet."""

from zoo.convert.naming import first_match

# heads number their layers, the spread's channel first where there is one
_BATCH_HEAD = {
    "batch-norm-2d": ((r"^net\.0\.", "conv1."), (r"^net\.2\.", "conv2.")),
    "batch-stdev": ((r"^net\.1\.", "conv1."), (r"^net\.3\.", "conv2.")),
}


def batch_head(name: str, kind: str) -> str:
    """A plain body `_body` with UVCGANv2's head `_head` of that kind."""
    where, _, rest = name.partition(".")
    return f"{where.removeprefix('_')}.{first_match(rest, _BATCH_HEAD[kind])}"
