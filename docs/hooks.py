"""What the site takes from the code and from files when it is built, so that it cannot lag behind.

A page asks for it by a comment on a line of its own: `<!-- recipe fields -->`,
`<!-- sweep fields -->`, `<!-- adaptation fields -->`, `<!-- parts -->`, `<!-- layers -->`,
`<!-- weights files -->`, `<!-- results -->`, or `<!-- picture: images/x.png | caption -->`.

A link to a file of `zoo/` leads to one line of it, on a page of the site that shows the file:
[`x + 1`](../../zoo/layers/cam.py#CAM.forward) to the line that says so inside that function, a link
whose text is not code to where the function begins.
"""

import ast
import json
import re
import tomllib
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any, NamedTuple

from eval.adaptation.recipe import Adaptation, PublishedScores
from eval.tasks.data import TASK_DATA, TASK_MODELS
from zoo.create import describe_parts, field_help
from zoo.downloads import WEIGHTS
from zoo.registry import REGISTRIES
from zoo.schema import DataConfig, Player, Recipe
from zoo.sweep import Published, RowRun, SweepFile

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_ASKS = re.compile(
    r"^<!-- (recipe fields|sweep fields|adaptation fields|parts|layers|weights files|results"
    r"|picture: .*?) -->$",
    re.MULTILINE,
)
_CODE_LINK = re.compile(r"\[(?:`([^`\n]+)`|([^]`\n]*))\]\(((?:\.\./)+zoo/[\w/]+\.py)#([\w.]+)\)")


def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for every file of code that a page links to."""
    from mkdocs.structure.files import File

    for path in sorted({link.file for file in DOCS.rglob("*.md") for link in code_links(file)}):
        code = (ROOT / path).read_text(encoding="utf-8")
        head = f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n"
        text = f'{head}````python linenums="1"\n{code}````\n'
        files.append(File.generated(config, _page_of(path), content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace what a page asks for."""
    return expand(markdown, page.file.src_uri)


def expand(markdown: str, page: str) -> str:
    """The text of a page with everything it asks for.

    Args:
        markdown: as in the file.
        page: its path below docs/, for links.
    """

    def answer(match: re.Match) -> str:
        ask, _, rest = match[1].partition(": ")
        if ask == "recipe fields":
            return recipe_fields()
        if ask == "sweep fields":
            return sweep_fields()
        if ask == "adaptation fields":
            return adaptation_fields()
        if ask == "parts":
            return parts()
        if ask == "layers":
            return layers()
        if ask == "weights files":
            return weights_files()
        if ask == "results":
            return results(page)
        return picture(page, *(word.strip() for word in rest.split("|")))

    def line(match: re.Match) -> str:
        link = _code_link(match, page)
        to = relpath(_page_of(link.file), Path(page).parent.as_posix())
        text = f"`{link.quoted}`" if link.quoted else match[2]
        return f"[{text}]({to}#__codelineno-0-{code_line(link)})"

    return _CODE_LINK.sub(line, _ASKS.sub(answer, markdown))


class CodeLink(NamedTuple):
    """A link of a page to code."""

    file: str  # "zoo/layers/cam.py"
    symbol: str  # "CAM.forward"
    quoted: str  # what the line says; "": the line where the symbol begins


def code_links(page: Path) -> list[CodeLink]:
    """Every link to code of a page, whose file lies in docs/ or below."""
    name = page.relative_to(DOCS).as_posix()
    text = page.read_text(encoding="utf-8")
    return [_code_link(match, name) for match in _CODE_LINK.finditer(text)]


def code_line(link: CodeLink) -> int:
    """The number of the line that a link means.

    Raises:
        LookupError: there is no such file or symbol, or not exactly one such line in it.
    """
    where = f"{link.file}#{link.symbol}"
    if not (ROOT / link.file).is_file():
        raise LookupError(f"{where}: there is no such file")
    text = (ROOT / link.file).read_text(encoding="utf-8")
    found: Any = ast.parse(text)
    for name in link.symbol.split("."):
        inner = {getattr(node, "name", ""): node for node in getattr(found, "body", ())}
        if name not in inner:
            raise LookupError(f"{where}: there is no {name}")
        found = inner[name]
    numbers = range(found.lineno, found.end_lineno + 1)
    if not link.quoted:
        return numbers[0]
    lines = text.splitlines()
    saying = [number for number in numbers if link.quoted in lines[number - 1]]
    if len(saying) != 1:
        raise LookupError(f"{where}: {len(saying)} lines say {link.quoted!r}")
    return saying[0]


def _code_link(match: re.Match, page: str) -> CodeLink:
    file = normpath((Path("docs") / page).parent.as_posix() + "/" + match[3])
    return CodeLink(file, match[4], match[1] or "")


def _page_of(file: str) -> str:
    return f"source/{file.removesuffix('.py')}.md"


def recipe_fields() -> str:
    """A table for every section of a recipe."""
    rows = field_help(Recipe)
    rows += field_help(Player, "optim.players.NAME.") + field_help(DataConfig, "data.")
    sections: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        section = row["name"].partition(".")[0] if "." in row["name"] else ""
        sections.setdefault(section, []).append(row)
    texts = []
    for section, fields in sections.items():
        title = f"### {section}" if section else "### Top level"
        texts += [f"{title}\n\n{_table(fields)}"]
    return "\n\n".join(texts)


def sweep_fields() -> str:
    """A table for a sweep, and one for each thing in its lists."""
    rows = field_help(SweepFile)
    rows += field_help(RowRun, "rows.LABEL.runs[].") + field_help(Published, "published[].")
    return _table(rows)


def adaptation_fields() -> str:
    """Tables for an adaptation recipe, its adapters of images and its models."""
    texts = [_table(field_help(Adaptation) + field_help(PublishedScores, "published[]."))]
    for registry in (TASK_DATA, TASK_MODELS):
        for name in registry.names():
            owner: Any = registry[name]
            texts += [f"### {registry.kind} `{name}`", (owner.__doc__ or "").partition("\n")[0]]
            texts.append(_table(field_help(owner.Config)))
    return "\n\n".join(texts)


def parts() -> str:
    """A chapter for every kind of part, a section with its fields for every part."""
    texts = []
    for kind in REGISTRIES:
        texts.append(f"## {'data sets' if kind == 'datasets' else kind}".capitalize())
        for part in describe_parts(kind):
            name = part["name"]
            first, _, rest = part["doc"].partition("\n")
            texts += [f"### {part['kind']} `{name}`", first, rest.partition("Attributes:")[0]]
            texts += [_table(part["fields"]) if part["fields"] else "No fields."]
            for key in ("offers", "recipes"):
                if part[key]:
                    texts.append(f"{key.capitalize()}: {', '.join(f'`{v}`' for v in part[key])}")
    return "\n\n".join(text for text in texts if text.strip())


def layers() -> str:
    """The order of the import contract, from top to bottom."""
    settings = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (order,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    modules = (re.split(r" [|:] ", layer) for layer in order)
    return "\n".join(f"1. {', '.join(f'`{module}`' for module in layer)}" for layer in modules)


def weights_files() -> str:
    """A table of the files that `zoo weights` knows."""
    lines = ["| name | file | bytes | SHA-256 | stated by |", "| --- | --- | --- | --- | --- |"]
    for weights in WEIGHTS.values():
        file = f"[`{weights.file}`]({weights.url})"
        size = f"{weights.size:_}".replace("_", " ") if weights.size else ""
        digest = f"`{weights.sha256}`" + ("…" if len(weights.sha256 or "") < 64 else "")
        lines.append(f"| `{weights.name}` | {file} | {size} | {digest} | {weights.hash_source} |")
    return "\n".join(lines)


def results(page: str) -> str:
    """A list of the pages of measured results, by their titles."""
    lines = []
    for file in sorted((DOCS / "results").glob("*.md")):
        if file.name != "index.md":
            title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
            link = relpath(f"results/{file.name}", Path(page).parent.as_posix())
            lines.append(f"- [{title or file.stem}]({link})")
    return "\n".join(lines) or "No results have been written down yet."


def picture(page: str, file: str, caption: str) -> str:
    """A picture, or nothing while no run has made it."""
    if not (DOCS / file).is_file():
        return ""
    return f"![{caption}]({relpath(file, Path(page).parent.as_posix())})"


def _table(fields: list[dict[str, Any]]) -> str:
    lines = ["| field | type | default | help |", "| --- | --- | --- | --- |"]
    for field in fields:
        required = field["default"] == "required"
        default = "required" if required else f"`{json.dumps(field['default'])}`"
        text = field["help"].replace("|", "\\|")  # within backticks it needs no escape
        lines.append(f"| `{field['name']}` | `{field['type']}` | {default} | {text} |")
    return "\n".join(lines)
