"""The pages of the reference, written from the declarations when the site is built.

python docs/tools/reference.py     writes them to docs/reference/
"""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from chapters import RESULTS, Named, chapters
from curves import curve
from elsewhere import elsewhere

import tinygrad_lesson as tl
from tinygrad_lesson.mxnet.register import offered

TARGET = Path(__file__).parents[1] / "reference"
SECTION = re.compile(r"^(\S[^\n]*)\n(?=    )", re.MULTILINE)
LISTS = ("Parameters", "Attributes")
SPANS = re.compile(r"(``.+?``|`[^`\n]+`)", re.DOTALL)


def meanings() -> dict[str, str]:
    """What parameters mean, by function or module, for functions whose docstring does not say it."""
    lines = Path(__file__).with_name("meanings.txt").read_text("utf-8").splitlines()[2:]
    pairs = [line.split(": ", 1) for line in lines]
    return {key: meaning for keys, meaning in pairs for key in keys.split(", ")}


MEANINGS = meanings()


def write(target: Path = TARGET) -> None:
    """Write a page per chapter, and the page that lists them; what has not changed is left alone."""
    pages = chapters()
    names = {title: re.sub(r"\W+", "_", title.lower()).strip("_") for title in pages}
    texts = {f"{names[title]}.md": page(title, found) for title, found in pages.items() if found}
    texts["index.md"] = contents(pages, names)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.md"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        path = target / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def contents(pages: dict[str, list[Named]], names: dict[str, str]) -> str:
    """The page that lists the others."""
    count = sum(map(len, pages.values()))
    lines = [
        "# Reference",
        "",
        f"{count} names, from the declarations in the source. `help(tl.tanh)` and `help(sym.BatchNorm)` say the same.",
    ]
    lines += ["", "`tl` is `import tinygrad_lesson as tl`, `sym` is `tl.sym`.", ""]
    lines += ["| page | names |", "|---|---|"]
    for title, found in pages.items():
        first = ", ".join(f"`{named.name.partition('.')[2]}`" for named in found[:8])
        lines.append(f"| [{title}]({names[title]}.md) | {first}{', ...' if len(found) > 8 else ''} |")
    lines += [
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *[names[title] for title, found in pages.items() if found],
        "```",
        "",
    ]
    return "\n".join(lines)


def page(title: str, found: list[Named]) -> str:
    """One chapter."""
    return "\n".join([f"# {title}", "", *[entry(named) for named in found]])


def entry(named: Named) -> str:
    """What the reference says of one name."""
    name, thing = named
    parts = [f"## `{name}`", "", "```python", signature(name, thing), "```", ""]
    same = alias(name, thing)
    if same:
        return "\n".join([*parts, f"The same as [`{same}`](#{anchor(same)}).", ""])
    cls = getattr(thing, "op", None)
    cls = cls if inspect.isclass(cls) else None  # of an op; other things have an `op` that is something else
    if name.startswith("tl.") and not inspect.isclass(thing):
        others = elsewhere(name.partition(".")[2], cls)
        parts += [" · ".join(others), ""] if others else []
    parts += [markdown(inspect.getdoc(thing) or ""), ""]
    untold = [key for key in parameters(name, thing) if not told(key, thing)]
    if untold and not is_operator(name):
        lines = [f"- `{key}`: {escaped(meaning(name, key))}" for key in untold]
        parts += ["**Parameters**", "", *lines, ""]
    drawn = curve(name.partition(".")[2], cls) if cls is not None and name.startswith("tl.") else ""
    if drawn:
        both = (
            "The line is the function, the dashes are its gradient."
            if 'class="slope"' in drawn
            else "The function."
        )
        parts += ["```{raw} html", drawn, "```", "", both, ""]
    if inspect.isclass(thing):
        parts += methods(thing)
    return "\n".join(parts)


def meaning(name: str, key: str) -> str:
    """What a parameter means, where its function does not say it.

    Errors
        LookupError that says where to write it.
    """
    for place in places(name, key):
        if place in MEANINGS:
            return MEANINGS[place]
    raise LookupError(f"{name}: what is {key!r}? Say it in the docstring, or in docs/tools/meanings.txt")


def places(name: str, key: str) -> list[str]:
    """Where the meaning of a parameter may stand: for the function alone, or for all of its module."""
    return [f"{name}.{key}", f"{name.rpartition('.')[0]}.*.{key}"]


def is_operator(name: str) -> bool:
    """Whether a name is that of an operator of the symbolic face, whose inputs its shapes explain."""
    home, _, last = name.partition(".")
    return home == "sym" and offered(last) is not None


def alias(name: str, thing: Any) -> str:
    """The name under which an op is declared, if `name` is a second one for it."""
    cls = getattr(thing, "op", None)
    if not inspect.isclass(cls) or not name.startswith("tl."):
        return ""
    first = f"tl.{cls.function}"
    return first if first != name and hasattr(tl, cls.function) and name.count(".") == 1 else ""


def anchor(name: str) -> str:
    """Where on its page the entry of a name begins."""
    return re.sub(r"[^\w-]", "", name.lower())


def parameters(name: str, thing: Any) -> list[str]:
    """The parameters that a user may give, those without a name of their own left out."""
    if name.rpartition(".")[2] in RESULTS.split():
        return []
    known = inspect.signature(thing).parameters.values()
    return [p.name for p in known if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def told(key: str, thing: Any) -> bool:
    """Whether the docstring speaks of a parameter."""
    return re.search(rf"\b{key}\d*\b", inspect.getdoc(thing) or "") is not None


def signature(name: str, thing: Any) -> str:
    """How it is called, with defaults; on several lines if it is long."""
    if name.rpartition(".")[2] in RESULTS.split():
        return name
    known = inspect.signature(thing)
    plain = known.replace(
        parameters=[p.replace(annotation=p.empty) for p in known.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    text = re.sub(r"<(?:function|class|object) ?'?([\w.]+)[^>]*>", r"\1", f"{name}{plain}")
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return textwrap.fill(text, 78, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def methods(cls: type) -> list[str]:
    """The public methods of a class, and of bases that it alone has, and what each does, in one line."""
    lines, parts = [], [cls]
    for base in cls.__mro__[1:]:
        parts += [base] if all(other in parts for other in base.__subclasses__()) else []
    for name, method in sorted({k: v for part in parts[::-1] for k, v in vars(part).items()}.items()):
        doc = inspect.getdoc(getattr(cls, name, None))
        if (
            name.startswith("_")
            or not doc
            or not (callable(method) or isinstance(method, property | classmethod | staticmethod))
        ):
            continue
        first = escaped(doc.split("\n\n")[0].replace("\n", " "))
        lines.append(f"- `{name}`: {first}")
    return ["**Methods**", "", *lines, ""] if lines else []


def markdown(doc: str) -> str:
    """A docstring as Markdown: its paragraphs, then each of its sections."""
    first, *rest = SECTION.split(doc)
    parts = [escaped(first.strip()), ""]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        body = textwrap.dedent(body).rstrip()
        if title.strip() == "Example" or body.lstrip().startswith(">>>"):
            parts += ["**Example**", "", "```pycon", body, "```", ""]
        elif title in LISTS:
            parts += [f"**{title}**", "", *[listed(line) for line in body.splitlines() if line.strip()], ""]
        else:
            parts += [f"**{escaped(title)}**", "", escaped(body), ""]
    return "\n".join(parts)


def listed(line: str) -> str:
    """A line `name: meaning` as an entry of a list; what is indented goes on from the one before."""
    key, colon, meaning = line.partition(": ")
    return (
        f"- `{key}`: {escaped(meaning)}"
        if colon and not line.startswith(" ")
        else f"  {escaped(line.strip())}"
    )


def escaped(text: str) -> str:
    """Text in which nothing but its code is Markdown."""
    parts = SPANS.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\*_\[\]<>${}#|~^])", r"\\\1", parts[i])
        parts[i] = (
            re.sub(r"(?m)^(\s*)([-+]|\d+\.)(?= )", r"\1\\\2", parts[i])
            if "\n\n" not in parts[i]
            else parts[i]
        )
    return "".join(parts)


if __name__ == "__main__":
    write()
