"""A comparison as Markdown, for a README or an issue."""

import re
from urllib.parse import quote

from eval._compare import sections
from eval._compare.sections import Table, Text
from eval.comparison import Comparison

_SIGNS = re.compile(r"([\\`*_\[\]|~#$])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """Text that is shown as it is, on one line."""
    words = " ".join(text.split())
    for sign, entity in _ENTITIES.items():
        words = words.replace(sign, entity)
    return _SIGNS.sub(r"\\\1", words)


def render(made: Comparison) -> str:
    """The text of the file."""
    parts = [f"# {escape(made.sweep)}", escape(made.description)]
    if made.pilot:
        parts.append(f"**Pilot:** {escape(made.pilot)}.")
    for which in ("final", "best"):
        for task in made.tasks:
            parts += map(_table, sections.score_tables(made, task, which, len(made.metrics) or 1))
        if which == "final":
            marks = (f"{_marked('x', mark)}: {text}" for mark, text in sections.LEGEND.items())
            parts.append(f"{'; '.join(marks)}.")
    for task in made.tasks:
        parts += [_table(sections.difference_table(made, task, shown)) for shown in made.metrics]
    parts += [_table(sections.null_table(made)), _table(sections.correlation_table(made))]
    parts.append(_table(sections.cost_table(made)))
    parts += [_table(sections.published_table(made, table)) for table in made.published]
    if made.warnings:
        parts.append("## Before you believe this")
        parts.append("\n".join(f"- {escape(text)}" for text in made.warnings))
    parts += ["## Runs", _runs(made)]
    if made.command:
        parts.append(f"Made {made.made} by `{made.command.replace('`', ' ')}`.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    lines = [
        f"## {escape(table.title)}",
        "",
        _line([escape(head) for head in table.heads]),
        _line(["---", *("---:" for _ in table.heads[1:])]),
        *(_line([_cell(text) for text in row]) for row in table.rows),
    ]
    if table.notes:
        lines += ["", " ".join(escape(note) for note in table.notes)]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: Text) -> str:
    value = _marked(escape(text.value), text.mark)
    return f"{value} ({escape(text.span)})" if text.span else value


def _marked(value: str, mark: str) -> str:
    return {"best": f"**{value}**", "tie": f"{value} †"}.get(mark, value)


def _runs(made: Comparison) -> str:
    lines = [_line(["run", "state", "best at", "commit"]), _line(["---"] * 4)]
    for name, state, best, commit, folder in sections.run_rows(made):
        link = f"[{escape(name)}]({quote(folder, safe='/')}/)"
        lines.append(_line([link, escape(state), escape(best), escape(commit)]))
    return "\n".join(lines)
