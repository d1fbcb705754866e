"""The fenced blocks of the project's documents."""

import re


def blocks(text, languages):
    """(language, content) of the blocks fenced with one of the languages, without indentation."""
    pattern = rf"^( *)```({'|'.join(languages)})\n(.*?)^ *```$"
    for indent, language, block in re.findall(pattern, text, re.DOTALL | re.MULTILINE):
        yield language, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
