"""The key of a study: what its page must not say."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.images import printable
from zoo.registry import UserError

Mode = Literal["real-or-fake", "best"]
FORMAT = 1


@dataclass(kw_only=True)
class Key:
    """What `key.json` holds: everything that the page does not say.

    Attributes:
        study: its identity, in every line of answers.
        mode: "real-or-fake" or "best".
        counted: trials that count in a session.
        practice: trials before them.
        trial_ms: how long a pair is shown.
        seed: of pairs, their order and who gets which method.
        direction: "a2b" or "b2a".
        methods: name of the method by its key.
        images: each image file's stem -> its method's key, "real" or "source".
        runs: name of the method -> run folder, checkpoint, weights and images seen.
        versions: of Zoo and libraries.
    """

    study: str
    mode: Mode
    counted: int
    practice: int
    trial_ms: int
    seed: int
    direction: str
    methods: dict[str, str]
    images: dict[str, str]
    runs: dict[str, dict[str, Any]]
    versions: dict[str, str]


def read_key(path: Path) -> Key:
    """The key of a study.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{printable(path)}: cannot be read as the key of a study: {error}"
        ) from None
    fields = Key.__dataclass_fields__
    if not isinstance(content, dict) or not fields.keys() <= content.keys():
        raise UserError(
            f"{printable(path)}: is not the key of a study (key.json of `zoo study make`)"
        )
    if content.get("format") != FORMAT:
        raise UserError(
            f"{printable(path)}: has format {content.get('format')!r}; this version reads {FORMAT}"
        )
    return Key(**{name: content[name] for name in fields})
