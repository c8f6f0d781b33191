"""The documentation names things that exist, and every page is in the navigation."""

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def resolve(name):
    """The object behind a dotted name: a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_code_exist(page):
    for name in re.findall(r"`(amvur(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
        resolve(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_exist(page):
    for name in re.findall(
        r"`((?:src|scripts|tools|tests|benchmarks|results)/[\w/.]+)`", page.read_text(encoding="utf-8")
    ):
        assert (ROOT / name).exists(), name


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    places = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]
    assert [place for place in places if f": {place}\n" not in navigation] == []


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_linked_files_exist(page):
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


TEXTS = [ROOT / "README.md", *PAGES]


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_attributes_of_hands_exist(page):
    from amvur.structures import HandReconstruction

    known = {field.name for field in fields(HandReconstruction)} | {"sample"}
    named = re.findall(r"\b(?:hand|hands\[\d\])\.([a-z_]\w*)", page.read_text(encoding="utf-8"))
    modules = {path.stem for path in (ROOT / "src/amvur/hand").glob("*.py")}  # `amvur.hand.x`
    assert set(named) <= known | modules | {"glb", "obj", "ply"}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_commands_exist(page):
    from amvur.cli import options

    classes = [x for x in vars(options).values() if is_dataclass(x)]
    known = {f.name.replace("_", "-") for c in classes for f in fields(c)} | {"help", "version"}
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^\s*(?:\.venv/bin/)?amvur [^\n]*|`amvur [^`]*`", text, re.MULTILINE):
        named = re.findall(r"\s--([a-z][\w-]*)", line)
        assert set(named) <= known, line
