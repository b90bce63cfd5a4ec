"""The prompt library: the prompts of the package, of the user and of the project, by name, with their versions.

A prompt is a file `NAME.md` (see `whetstone.prompting.template`) in one of the library's folders. Beside it may stand
earlier versions, `NAME@1.md`, and variants for families of models, `NAME.t5.md`, with versions of their own. Of two
prompts of one name, that of the later folder holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from filelock import FileLock, Timeout

from whetstone.errors import DataError, StorageError, UsageError
from whetstone.prompting.prompt_file import STEM, PromptFile, PromptFolder, Reference
from whetstone.prompting.template import Template, read_template
from whetstone.registry import unknown_name
from whetstone.settings import home
from whetstone.storage.files import storage_error, write_atomically

__all__ = ["PromptFile", "PromptFolder", "PromptLibrary", "default_folders"]

_LOCK_SECONDS = 5


def default_folders() -> list[PromptFolder]:
    """The package's own prompts, `WHETSTONE_HOME/prompts`, and `./prompts`; the last one that has a name holds."""
    return [
        PromptFolder(Path(str(files("whetstone.prompting") / "templates")), "packaged", writable=False),
        PromptFolder(home() / "prompts", "user"),
        PromptFolder(Path("prompts"), "project"),
    ]


class PromptLibrary:
    """All prompts at hand.

    Args:
        folders: where they stand; of two prompts of one name, that of the later folder holds. See `default_folders`.
    """

    def __init__(self, folders: Sequence[PromptFolder] | None = None) -> None:
        self.folders = tuple(default_folders() if folders is None else folders)

    def list(self) -> list[PromptFile]:
        """The newest version of every prompt and of its variants, by name; those that cannot be used say why."""
        held: dict[tuple[str, str], PromptFile] = {}
        for folder in self.folders:
            for reference, path in _files(folder):
                if reference.version is None:
                    held[reference.name, reference.family] = self._read(folder, reference, path)
        return [held[key] for key in sorted(held)]

    def find(self, name: str, *, family: str | None = None) -> PromptFile:
        """The prompt of a name: "reply", "reply@2", "reply.t5".

        Args:
            family: of the model that is to be asked; its variant is found where there is one.

        Raises:
            UnknownNameError: there is none; near matches are offered.
            UsageError: the name has no such version, or is no name.
            DataError: the prompt cannot be used.
        """
        asked = Reference.parse(name)
        wanted = [asked]
        if family and not asked.family and asked.version is None:  # variants have versions of their own
            wanted.insert(0, Reference(asked.name, family, asked.version))
        for reference in wanted:
            if known := self._versions(reference):
                return self._chosen(reference, known)
        raise unknown_name("prompt", str(asked), sorted({prompt.name for prompt in self.list()}))

    def _chosen(self, reference: Reference, known: Sequence[PromptFile]) -> PromptFile:
        if reference.version is None:
            known[0].template  # noqa: B018 - raises where it cannot be used
            return known[0]
        for prompt in known:
            if prompt.version == reference.version:
                return prompt
        there = ", ".join(str(prompt.version) for prompt in known if not prompt.problem)
        raise UsageError(
            f"The prompt {reference.stem} has no version {reference.version}; there are: {there or 'none'}"
        )

    def versions(self, name: str) -> Sequence[PromptFile]:
        """Every version of a prompt, the newest first.

        Raises:
            UnknownNameError: there is no such prompt.
        """
        known = self._versions(Reference.parse(name))
        if not known:
            raise unknown_name("prompt", name, sorted({prompt.name for prompt in self.list()}))
        return known

    def _versions(self, asked: Reference) -> Sequence[PromptFile]:
        """The prompt that holds, then its other versions, falling; those that cannot be used last."""
        current: PromptFile | None = None
        earlier: dict[int, PromptFile] = {}
        broken: list[PromptFile] = []
        for folder in reversed(self.folders):
            for version, path in _versions_in(folder, asked):
                prompt = self._read(folder, Reference(asked.name, asked.family, version), path)
                if current is None and version is None:
                    current = prompt
                elif prompt.problem:
                    broken.append(prompt)
                else:
                    earlier.setdefault(prompt.version, prompt)
        others = [p for v, p in sorted(earlier.items(), reverse=True) if current is None or v != current.version]
        return [*([current] if current else []), *others, *broken]

    def _read(self, folder: PromptFolder, reference: Reference, path: Path) -> PromptFile:
        try:
            _check_inside(path, folder.path)
            template = read_template(path)
            if reference.version is not None and template.version != reference.version:
                raise DataError(
                    f"{path}: the file's name says version {reference.version}, its head {template.version}"
                )
        except DataError as error:
            return PromptFile(reference.name, reference.family, path, folder.source, str(error))
        return PromptFile(reference.name, reference.family, path, folder.source, "", template)

    def _new_home(self) -> PromptFolder:
        """Where a new prompt goes: the last writable folder that exists, else the first writable one."""
        writable = [folder for folder in self.folders if folder.writable]
        if not writable:
            raise UsageError("none of these folders of prompts can be written to")
        return next((folder for folder in reversed(writable) if folder.path.is_dir()), writable[0])

    def next_version(self, name: str) -> int:
        """The version that a changed text of this prompt must have at least: 1 for a new prompt."""
        return max((prompt.version for prompt in self._versions(Reference.parse(name))), default=0) + 1

    def save(self, name: str, source: str) -> PromptFile:
        """Keep a prompt: a new one, or a changed text as a new version.

        The version before stays beside it, as NAME@1.md. A prompt stays in the folder it stands in; one of the
        package's is copied to a folder of the user's, where it holds from then on. Killed at any instant, what was
        there before is still there.

        Args:
            name: "reply", or "reply.t5" for the variant of a family.
            source: the file's text; its head says the version.

        Raises:
            DataError: it is no template.
            UsageError: the text changed and the version did not rise, or the name names a version.
            StorageError: the folder cannot be written, or somebody else is saving.
        """
        reference = Reference.parse(name)
        if reference.version is not None:
            raise UsageError(f"{name}: a version is never changed; save {reference.stem} with a version of its own")
        template = Template(source, name)
        known = self._versions(reference)
        owner = next((f for f in self.folders if known and f.source == known[0].source and f.writable), None)
        owner = owner or self._new_home()
        path = owner.path / f"{reference.stem}.md"
        try:
            home().mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            _check_inside(path, owner.path)
            with FileLock(home() / "prompts.lock", timeout=_LOCK_SECONDS):
                known = self._versions(reference)
                if known and known[0].digest == template.digest:
                    return known[0]
                newest = self.next_version(reference.stem) - 1
                if template.version <= newest:
                    raise UsageError(
                        f"{reference.stem}: the text is not that of version {template.version}, which exists: write "
                        f"`version: {newest + 1}` in its head"
                    )
                if path.exists():
                    self._set_aside(path, reference)
                write_atomically(path, template.source)
        except Timeout:
            raise StorageError(f"{path} is being saved by somebody else; try again") from None
        except OSError as error:
            raise storage_error(path, error) from error
        return self.find(reference.stem)

    def _set_aside(self, path: Path, reference: Reference) -> None:
        """Keep the text that is about to be replaced under its version. One that is no prompt is kept by its bytes."""
        try:
            version = str(read_template(path).version)
        except DataError:
            version = "broken"
        kept = path.with_name(f"{Path(reference.stem).name}@{version}.md")
        write_atomically(kept, path.read_bytes())

    def diff(self, a: str, b: str) -> str:
        """What changed from one prompt or version to another, in the unified form; "" where nothing did.

        Raises:
            UsageError: one of them is not there.
        """
        one, other = self.find(a), self.find(b)
        lines = difflib.unified_diff(
            one.template.source.splitlines(),
            other.template.source.splitlines(),
            f"{one.reference} ({one.path})",
            f"{other.reference} ({other.path})",
            lineterm="",
        )
        return "\n".join(lines)


def _files(folder: PromptFolder) -> Iterator[tuple[Reference, Path]]:
    """The prompts of a folder by what they are called. A README is none, nor a file whose name no prompt can have."""
    if not folder.path.is_dir():
        return
    for path in sorted(folder.path.rglob("*.md")):
        found = STEM.fullmatch(path.relative_to(folder.path).as_posix().removesuffix(".md"))
        if found is not None and path.stem.upper() != "README":
            version = found["version"]
            yield Reference(found["name"], found["family"] or "", int(version) if version else None), path


def _versions_in(folder: PromptFolder, asked: Reference) -> Iterator[tuple[int | None, Path]]:
    """The files of one prompt in a folder: (None, NAME.md) first, then (version, NAME@version.md)."""
    path = folder.path / f"{asked.stem}.md"
    if path.exists() or path.is_symlink():
        yield None, path
    if path.parent.is_dir():
        stem = path.name.removesuffix(".md")
        for other in sorted(path.parent.glob(f"{stem}@*.md")):
            version = other.name.removesuffix(".md").removeprefix(f"{stem}@")
            if version.isascii() and version.isdigit() and not version.startswith("0"):
                yield int(version), other


def _check_inside(path: Path, folder: Path) -> None:
    """Refuse a file that leads out of its folder, through a link.

    Raises:
        DataError: it does.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path}: it leads out of the folder of prompts, to {path.resolve()}; copy the file there")
