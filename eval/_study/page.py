"""The page of a study from its template: one file beside a folder of images."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import zoo

_HERE = Path(__file__).parent


def render_page(settings: dict[str, Any]) -> str:
    """The page.

    It loads images beside it and nothing else, sends nothing, and runs the one script in it.

    Args:
        settings: what the script reads: study, mode, question, numbers of trials, milliseconds,
            seed, and trials by method.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "study.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src 'self' file:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("study.html.j2").render(
        settings=settings,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=zoo.__version__,
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
