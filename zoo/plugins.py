"""Parts from other distributions (entry points) and from files named in a recipe."""


def load_entry_points() -> None:
    """Import what the group `zoo.plugins` names."""
