"""Rebuild the sentences of chapter 13 from the wheel that they come from.

python -m pip download --no-deps --only-binary=:all: --python-version 3.14.2 homeassistant==2026.11.0
python tools/extract_sentences.py homeassistant-2026.11.0-py3-none-any.whl

The wheel is read, never installed. Each of its integrations (one per kind of device or service) carries its texts
in many languages, one JSON file a language, with the same keys. A line of the result is an integration, the English
text, and its German and Turkish translations, empty where there is none. The licence of the texts is in
`transformer_lib/data/interface_text.NOTICE`.
"""

import hashlib
import json
import lzma
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parents[1] / "transformer_lib" / "data" / "interface_text.tsv.xz"
LANGUAGES = ("en", "de", "tr")
LONGEST = 40  # English words


def leaves(table: dict, path: tuple = ()) -> Iterator[tuple[tuple, str]]:
    """Go through the texts of nested tables, each with the keys that lead to it."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), " ".join(str(value).split())


def extract(wheel: Path) -> str:
    """Return the lines: each once, in the order of the integrations' names."""
    lines: dict[str, None] = {}
    with zipfile.ZipFile(wheel) as archive:
        present = set(archive.namelist())
        for name in sorted(present):
            match = re.fullmatch(r"homeassistant/components/([^/]+)/translations/en\.json", name)
            if not match:
                continue
            files = [name.replace("en.json", f"{language}.json") for language in LANGUAGES]
            english, *others = [
                dict(leaves(json.loads(archive.read(file)))) if file in present else {} for file in files
            ]
            for path, text in english.items():
                translations = [other.get(path, "") for other in others]
                if any(translations) and text and "://" not in text and len(text.split()) <= LONGEST:
                    lines["\t".join([match[1], text, *translations])] = None
    return "".join(f"{line}\n" for line in lines)


def main() -> int:
    """Write the extract and print its check sum."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    data = extract(Path(sys.argv[1])).encode()
    TARGET.write_bytes(lzma.compress(data, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))
    print(f"{TARGET.name}: {data.count(10)} lines, SHA-256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
