r"""A comparison as LaTeX tables, to be read by `\input`; they need the package booktabs."""

import itertools

from eval._compare import sections
from eval._compare.sections import Table, Text
from eval.comparison import Comparison

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "†": r"$^\dagger$",
    "²": r"$^2$",
}
_MOST_SCORES = 4  # with their intervals they fill the width of a page
_KNOWN_BY_ALL = 0x17F  # Latin letters with accents, which LaTeX of today reads as they are


def escape(text: str) -> str:
    """Text as LaTeX prints it; signs that it has no letters for become "?"."""
    return "".join(_sign(sign) for sign in " ".join(text.split()))


def _sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    readable = sign.isprintable() and ord(sign) <= _KNOWN_BY_ALL
    return sign if sign.isascii() or (readable and sign.isalpha()) else "?"


def render(made: Comparison) -> str:
    """The text of the file."""
    head = [
        f"% {_comment(made.sweep)}: {_comment(made.description)}",
        f"% Made {_comment(made.made)} by {_comment(made.command)}",
        r"% Needs \usepackage{booktabs}; read it with \input{comparison.tex}.",
    ]
    tables: list[Table | None] = []
    for which, task in itertools.product(("final", "best"), made.tasks):
        tables += sections.score_tables(made, task, which, _MOST_SCORES)
    tables += [sections.null_table(made), sections.correlation_table(made)]
    tables += [sections.cost_table(made)]
    tables += [sections.published_table(made, table) for table in made.published]
    found = [_table(made, table) for table in tables if table is not None]
    return "\n".join(head) + "\n" + "\n".join(found)


def _comment(text: str) -> str:
    return " ".join(text.split())


def _table(made: Comparison, table: Table) -> str:
    notes = [*([f"Pilot: {made.pilot}."] if made.pilot else []), *table.notes]
    marks = {text.mark for row in table.rows for text in row}
    if "best" in marks:
        notes.append(f"Bold: {sections.LEGEND['best']}.")
    caption = " ".join(escape(note) for note in [f"{table.title}.", *notes])
    if "tie" in marks:
        caption += rf" $^\dagger$: {escape(sections.LEGEND['tie'])}."
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
        r"\toprule",
        " & ".join(escape(head) for head in table.heads) + r" \\",
        r"\midrule",
        *(" & ".join(_cell(text) for text in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(text: Text) -> str:
    value = escape(text.value)
    if text.mark == "best":
        value = rf"\textbf{{{value}}}"
    if text.mark == "tie":
        value += r"$^\dagger$"
    return rf"{value} {{\footnotesize ({escape(text.span)})}}" if text.span else value
