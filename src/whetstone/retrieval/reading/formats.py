"""Which files can be read, by their names."""

from __future__ import annotations

_BY_SUFFIX = {
    "markdown": "md markdown mdown mkd qmd rmd",
    "text": "txt text log rst adoc asciidoc org tex srt vtt",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "docx": "docx docm",
    "pptx": "pptx pptm",
    "xlsx": "xlsx xlsm",
    "csv": "csv tsv tab",
    "json": "json geojson",
    "jsonl": "jsonl ndjson",
    "eml": "eml",
    "code": (
        "py pyi js mjs cjs jsx ts tsx java kt kts scala groovy c h cc cpp cxx hpp hh cs go rs rb php pl pm lua r jl "
        "swift m mm dart ex exs erl hrl hs clj cljs elm fs fsx ml mli nim zig v vhd sv sh bash zsh fish ps1 bat sql "
        "graphql proto thrift css scss sass less vue svelte xml xsd xsl yaml yml toml ini cfg conf properties gradle "
        "cmake mk tf hcl nix dockerfile"
    ),
}
_KINDS = {suffix: kind for kind, suffixes in _BY_SUFFIX.items() for suffix in suffixes.split()}
# Files that go by their whole name.
_NAMES = {"readme", "license", "licence", "notice", "authors", "changelog", "contributing", "copying", "todo"}
_CODE_NAMES = {"makefile", "dockerfile", "jenkinsfile", "rakefile", "gemfile", "procfile", "vagrantfile"}


def kind_of(path: str) -> str | None:
    """ "markdown", "text", "html", "pdf", "docx", "pptx", "xlsx", "csv", "json", "jsonl", "eml", "code"; else None."""
    suffix = type_of(path)
    if suffix:
        return _KINDS.get(suffix)
    name = path.rpartition("/")[2].lower()
    return "text" if name in _NAMES else "code" if name in _CODE_NAMES else None


def type_of(path: str) -> str:
    """The suffix in lower case, without its dot; "" without one."""
    stem, _, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if stem else ""
