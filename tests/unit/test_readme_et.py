"""The Estonian README says what the English one says: same shape, same commands, same values."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text()
ESTONIAN = (ROOT / "README.et.md").read_text()
# Columns of a table that are words; in all others stands what a program says or takes.
WORDS = {
    "Method": {1, 2},
    "Event": {0},
    "File": {1},
    "Value": {4},
    "What you want": {0, 1},
    "What happens": {0, 1, 2},
    "What you see": {0, 1, 2},
}


def without_code(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text):
    """Everything between fences: commands, files, pictures drawn from text."""
    return re.findall(r"^ *```.*?^ *```$", text, flags=re.MULTILINE | re.DOTALL)


def headings(text):
    return [line.split(" ")[0] for line in without_code(text).splitlines() if line.startswith("#")]


def sections(text):
    return re.split(r"^## ", without_code(text), flags=re.MULTILINE)


def lines(section):
    """The lines of a section that hold text, by what they begin with."""
    kept = [line.strip() for line in section.splitlines()[1:] if line.strip()]
    return [
        re.match(r"\W?\d*\.?", line).group() if line[0] in "-!|>123456789" else "" for line in kept
    ]


def tables(text):
    """Each table as rows of cells."""
    found = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
        for table in found
    ]


def codes(text):
    """What stands between backticks, in the order in which a word order may put it."""
    return sorted(re.findall(r"`([^`]+)`", text))


def test_the_headings_have_the_same_levels():
    assert headings(ESTONIAN) == headings(ENGLISH)


def test_commands_and_files_are_the_same():
    assert blocks(ESTONIAN) == blocks(ENGLISH)


@pytest.mark.parametrize("number", range(len(sections(ENGLISH))))
def test_each_section_has_the_same_lines(number):
    assert lines(sections(ESTONIAN)[number]) == lines(sections(ENGLISH)[number])


@pytest.mark.parametrize("number", range(len(sections(ENGLISH))))
def test_each_section_names_the_same_things(number):
    assert codes(sections(ESTONIAN)[number]) == codes(sections(ENGLISH)[number])


def test_links_and_pictures_are_the_same():
    estonian, english = (re.findall(r"\]\(([^)]+)\)", text) for text in (ESTONIAN, ENGLISH))

    assert (estonian[0], english[0]) == ("README.md", "README.et.md")
    assert estonian[1:] == english[1:]


def test_tables_have_the_same_rows_and_values():
    for estonian, english in zip(tables(ESTONIAN), tables(ENGLISH), strict=True):
        words = WORDS[english[0][0]]
        for row, wanted in zip(estonian[1:], english[1:], strict=True):
            assert len(row) == len(wanted)
            for column, (cell, value) in enumerate(zip(row, wanted, strict=True)):
                assert column in words or cell == value
                assert codes(cell) == codes(value)


@pytest.mark.parametrize("number", range(1, len(sections(ENGLISH))))
def test_each_heading_is_translated(number):
    assert sections(ESTONIAN)[number].splitlines()[0] != sections(ENGLISH)[number].splitlines()[0]


def test_every_line_is_translated():
    english = {line.strip() for line in without_code(ENGLISH).splitlines() if len(line) > 60}
    estonian = {line.strip() for line in without_code(ESTONIAN).splitlines()}

    assert english & estonian == set()
