"""Which names of files stand for which kind of content, as data.

Knows names only; opens nothing.
"""

from collections.abc import Collection
from os import PathLike, fspath
from pathlib import PurePath

from instructsearch import plugins

# Kind of content -> the suffixes it goes by. The first four of the rows may also be compressed: `.csv.gz` and so on.
ROWS = {
    "csv": (".csv",),
    "tsv": (".tsv", ".tab"),
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
}
PROSE = {
    "text": (".txt", ".text", ".log", ".org", ".adoc"),
    "markdown": (".md", ".markdown", ".mkd"),
    "rst": (".rst", ".rest"),
}
PARSED = {
    "mdx": (".mdx",),
    "html": (".html", ".htm", ".xhtml"),
    "notebook": (".ipynb",),
    "pdf": (".pdf",),
    "docx": (".docx",),
    "pptx": (".pptx",),
}
CODE = {
    "ada": (".adb", ".ads"),
    "assembly": (".asm", ".s"),
    "bash": (".sh", ".bash", ".zsh"),
    "c": (".c", ".h"),
    "clojure": (".clj", ".cljs"),
    "cmake": (".cmake",),
    "cpp": (".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".cu", ".cuh"),
    "csharp": (".cs",),
    "css": (".css", ".scss", ".less"),
    "dart": (".dart",),
    "elixir": (".ex", ".exs"),
    "erlang": (".erl", ".hrl"),
    "fortran": (".f", ".f90", ".f95"),
    "go": (".go",),
    "graphql": (".graphql", ".gql"),
    "groovy": (".groovy", ".gradle"),
    "haskell": (".hs",),
    "ini": (".ini", ".cfg", ".conf", ".properties"),
    "java": (".java",),
    "javascript": (".js", ".mjs", ".cjs", ".jsx"),
    "julia": (".jl",),
    "kotlin": (".kt", ".kts"),
    "latex": (".tex", ".bib"),
    "lisp": (".lisp", ".el", ".scm"),
    "lua": (".lua",),
    "make": (".mk",),
    "matlab": (".m",),
    "nim": (".nim",),
    "objc": (".mm",),
    "ocaml": (".ml", ".mli"),
    "perl": (".pl", ".pm"),
    "php": (".php",),
    "powershell": (".ps1",),
    "prolog": (".pro",),
    "proto": (".proto",),
    "python": (".py", ".pyi", ".pyx"),
    "r": (".r",),
    "ruby": (".rb",),
    "rust": (".rs",),
    "scala": (".scala",),
    "sql": (".sql",),
    "svelte": (".svelte",),
    "swift": (".swift",),
    "terraform": (".tf",),
    "toml": (".toml",),
    "typescript": (".ts", ".tsx"),
    "vim": (".vim",),
    "vue": (".vue",),
    "xml": (".xml", ".xsd", ".xsl"),
    "yaml": (".yaml", ".yml"),
    "zig": (".zig",),
}
# Files that go by a whole name.
NAMES = {
    "readme": "text",
    "changelog": "text",
    "changes": "text",
    "news": "text",
    "makefile": "code:make",
    "gnumakefile": "code:make",
    "dockerfile": "code:docker",
    "containerfile": "code:docker",
    "jenkinsfile": "code:groovy",
    "rakefile": "code:ruby",
    "gemfile": "code:ruby",
}

SUFFIXES: dict[str, str] = {
    **{suffix: kind for table in (ROWS, PROSE, PARSED) for kind, suffixes in table.items() for suffix in suffixes},
    **{suffix: f"code:{language}" for language, suffixes in CODE.items() for suffix in suffixes},
}


def kind_of(path: str, plugged: Collection[str] = ()) -> str | None:
    """Return the kind of content that a file's name stands for, or None.

    One of the keys above, `code:LANGUAGE`, a kind of rows followed by `.gz`, or `plugin:SUFFIX` where the suffix is
    among the `plugged` ones.
    """
    name = PurePath(path).name.lower()
    stem, _, suffix = name.rpartition(".")
    if suffix == "gz":
        kind = SUFFIXES.get("." + stem.rpartition(".")[2]) if "." in stem else None
        return f"{kind}.gz" if kind in ROWS else None
    if not stem:
        return NAMES.get(name)
    return SUFFIXES.get("." + suffix) or (f"plugin:{suffix}" if suffix in plugged else None)


def plugged() -> frozenset[str]:
    """Return the suffixes, without the dot, that readers of other packages are registered for. Loads none of them."""
    return frozenset(plugin.name for plugin in plugins.available("readers"))


def supported(path: str | PathLike[str]) -> bool:
    """Say whether a file of that name is read when it lies in a folder. One that is named itself is always tried."""
    return kind_of(fspath(path), plugged()) is not None
