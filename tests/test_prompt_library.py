"""The prompt library: names, versions, families, and what never gets out of its folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.models.scripted import ScriptedModel
from whetstone.prompting.families import family_of
from whetstone.prompting.library import PromptFolder, PromptLibrary
from whetstone.prompting.template import Template, load_template, with_version


def text(version: int, body: str = "Sum up: {{ text }}", **head: str) -> str:
    more = "".join(f"{key}: {value}\n" for key, value in head.items())
    return f"---\nname: short\nversion: {version}\nvariables: [text]\n{more}---\n{body}\n"


@pytest.fixture
def library(tmp_path: Path) -> PromptLibrary:
    packaged = PromptFolder(tmp_path / "packaged", "packaged", writable=False)
    packaged.path.mkdir()
    (packaged.path / "short.md").write_text(text(1))
    return PromptLibrary([packaged, PromptFolder(tmp_path / "user", "user"), PromptFolder(tmp_path / "own", "project")])


def test_the_packaged_prompts_are_there_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    prompts = {prompt.name: prompt for prompt in PromptLibrary().list()}
    assert {"number", "label", "text"} <= set(prompts)
    assert prompts["number"].digest == load_template("number").digest
    assert "unit_name" in prompts["number"].variables
    assert all(prompt.description and not prompt.problem for prompt in prompts.values())


def test_a_changed_text_needs_a_higher_version_and_the_earlier_one_stays(library: PromptLibrary) -> None:
    with pytest.raises(UsageError, match="`version: 2`"):
        library.save("short", text(1, "{{ text }}!"))
    saved = library.save("short", text(2, "{{ text }}!", description="Brief."))
    assert (saved.version, saved.source, saved.description) == (2, "user", "Brief.")
    with pytest.raises(UsageError, match="`version: 3`"):
        library.save("short", text(2, "{{ text }}?"))
    library.save("short", text(5, "{{ text }}?"))
    assert [prompt.version for prompt in library.versions("short")] == [5, 2, 1]
    assert library.find("short@2").template.source == text(2, "{{ text }}!", description="Brief.")
    assert (library.folders[1].path / "short@2.md").exists()
    assert library.find("short@1").source == "packaged"
    assert library.next_version("short") == 6
    with pytest.raises(UsageError, match="no version 3; there are: 5, 2, 1"):
        library.find("short@3")


def test_saving_the_same_text_again_changes_nothing(library: PromptLibrary) -> None:
    saved = library.save("short", text(2, "{{ text }}!"))
    assert library.save("short", text(2, "{{ text }}!").replace("\n", "\r\n")) == saved
    assert [path.name for path in library.folders[1].path.iterdir()] == ["short.md"]


def test_a_prompt_stays_in_the_folder_it_stands_in_and_new_ones_go_to_the_project(library: PromptLibrary) -> None:
    library.save("short", text(2, "{{ text }}!"))
    library.folders[2].path.mkdir()
    assert library.save("short", text(3, "{{ text }}?")).source == "user"
    assert library.save("mail/reply", text(1)).path == library.folders[2].path / "mail" / "reply.md"
    assert [prompt.name for prompt in library.list()] == ["mail/reply", "short"]


def test_of_two_prompts_of_one_name_the_later_folder_holds(library: PromptLibrary) -> None:
    library.folders[2].path.mkdir()
    (library.folders[2].path / "short.md").write_text(text(1, "mine: {{ text }}"))
    assert library.find("short").source == "project"
    assert [prompt.source for prompt in library.list()] == ["project"]
    assert [prompt.source for prompt in library.versions("short")] == ["project"]


def test_a_family_has_its_own_variant_with_its_own_versions(library: PromptLibrary) -> None:
    library.save("short.t5", text(1, "summarize: {{ text }}"))
    library.save("short.t5", text(2, "summarise: {{ text }}"))
    assert library.find("short", family="t5").reference == "short.t5@2"
    assert library.find("short", family="qwen").reference == "short@1"
    assert library.find("short@1", family="t5").reference == "short@1"
    assert library.find("short.t5@1").template.messages({"text": "x"})[0]["content"] == "summarize: x"
    assert [(prompt.name, prompt.family) for prompt in library.list()] == [("short", ""), ("short", "t5")]


def test_a_difference_is_shown_line_by_line(library: PromptLibrary) -> None:
    library.save("short", text(2, "Say it in a line: {{ text }}"))
    changed = library.diff("short@1", "short@2").splitlines()
    assert "-Sum up: {{ text }}" in changed
    assert "+Say it in a line: {{ text }}" in changed
    assert library.diff("short", "short@2") == ""


@pytest.mark.parametrize(
    "name", ["../short", "own/../../short", "/etc/passwd", "~/short", "C:\\short", "..\\short", "a/../b"]
)
def test_a_name_never_leads_out_of_the_folders(library: PromptLibrary, name: str) -> None:
    for asking in (library.find, library.versions, lambda name: library.save(name, text(1))):
        with pytest.raises(UsageError, match="one of the library's folders"):
            asking(name)


def test_a_link_out_of_the_folder_is_refused(library: PromptLibrary, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text(text(7, "secret {{ text }}"))
    (tmp_path / "elsewhere").mkdir()
    library.folders[1].path.mkdir()
    (library.folders[1].path / "leak.md").symlink_to(tmp_path / "secret.md")
    (library.folders[1].path / "away").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out of the folder"):
        library.find("leak")
    with pytest.raises(DataError, match="leads out of the folder"):
        library.save("away/new", text(1))
    assert not list((tmp_path / "elsewhere").iterdir())
    (listed,) = [prompt for prompt in library.list() if prompt.name == "leak"]
    assert "leads out" in listed.problem
    assert not listed.variables


def test_unknown_and_impossible_names_are_told(library: PromptLibrary) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean short"):
        library.find("shrot")
    with pytest.raises(UsageError, match="is no name of a prompt"):
        library.find("two words")
    with pytest.raises(UsageError, match="a version is never changed"):
        library.save("short@1", text(1))


def test_a_broken_file_is_listed_with_its_reason_and_kept_when_it_is_replaced(library: PromptLibrary) -> None:
    library.folders[1].path.mkdir()
    broken = library.folders[1].path / "notes.md"
    broken.write_bytes(b"only notes \xff")
    (library.folders[1].path / "README.md").write_text("What these are for.")
    assert [(p.name, "not UTF-8" in p.problem) for p in library.list()] == [("notes", True), ("short", False)]
    with pytest.raises(DataError, match="not UTF-8"):
        library.find("notes")
    library.save("notes", text(1))
    assert library.find("notes").version == 1
    assert broken.with_name("notes@broken.md").read_bytes() == b"only notes \xff"


def test_a_file_whose_name_says_another_version_is_told(library: PromptLibrary) -> None:
    (library.folders[0].path / "short@3.md").write_text(text(4))
    assert [prompt.problem != "" for prompt in library.versions("short")] == [False, True]
    with pytest.raises(UsageError, match="no version 3"):
        library.find("short@3")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"x" * 1_000_001, "larger than 1 MB"),
        (b"---\nname: \0", "no text"),
        (b"---\nname: short\nversion: 0\n---\nhello", "version"),
        (b"---\nname: " + b"[" * 5_000 + b"\n---\nhello", "nested too deeply"),
        (b"---\nname: short\nversion: 1\n---\n{{ " + b"(" * 5_000 + b" }}", "not valid Jinja"),
    ],
)
def test_a_file_that_is_no_prompt_is_told_in_one_sentence(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "short.md"
    path.write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        load_template(str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "short.md").mkdir()
    with pytest.raises(DataError, match="not a file"):
        load_template(str(tmp_path / "short.md"))


@pytest.mark.parametrize(
    "body",
    ["{{ 'x' * 10**9 }}", "{{ 'x'.center(10**11) }}", "{{ 'x' | center(10**11) }}", "{{ '%099999999d' | format(1) }}"],
)
def test_a_template_that_would_fill_the_memory_is_stopped(body: str) -> None:
    template = Template(text(1, body + "{{ text }}"), "big.md")
    with pytest.raises(UsageError, match=r"big\.md.*too large"):
        template.messages({"text": ""})


def test_a_value_that_the_template_does_not_know_is_named() -> None:
    template = Template(text(1), "short.md")
    with pytest.raises(UnknownNameError, match="Did you mean text"):
        template.check_names(["txet"])
    template.check_names(["text"])


def test_the_version_in_a_head_can_be_raised() -> None:
    assert with_version(text(1, "version: 7 {{ text }}"), 4) == text(4, "version: 7 {{ text }}")
    with pytest.raises(DataError, match="version"):
        with_version("---\nname: x\n---\nhello\n", 2)


@pytest.mark.parametrize(
    ("spec", "family"),
    [
        ("smollm2", "smollm"), ("hf:google/flan-t5-small", "t5"), ("hf:Qwen/Qwen2.5-0.5B-Instruct@main", "qwen"),
        ("gguf:./models/Llama-3.2-1B-Q4_K_M.gguf?context=8192", "llama"), ("ollama:llama3.2:1b", "llama"),
        ("openai:gpt-4o-mini", "gpt"), ("ollama:deepseek-r1-distill-qwen", "deepseek"), ("ollama:mixtral", "mistral"),
        ("kb:handbook@ollama:qwen3", "qwen"), ("kb:handbook", "smollm"), ("scripted:echo", None),
        ("hf:organisation/mt5-base", "t5"), ("openai:any?base_url=http://127.0.0.1/v1", None), ("ollama:phi3", "phi"),
    ],
)  # fmt: skip
def test_a_models_name_tells_its_family(spec: str, family: str | None) -> None:
    assert family_of(spec) == family


def test_a_folder_of_weights_is_asked_for_its_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    assert family_of(f"hf:{tmp_path}") == "t5"
    assert family_of(ScriptedModel(["x"])) is None
