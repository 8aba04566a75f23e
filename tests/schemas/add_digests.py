"""Add the digests of new settings to `data/digests.json`; those that are there stay as they are.

Run it after adding a setting: ``python tests/schemas/add_digests.py``. The rows it adds are the promise that
these digests stay what they are from then on.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from single_changes import SETTINGS, settings_class, single_changes  # noqa: E402
from test_digests import TRANSFORM_OF_THE_TABLE, as_read, ways_of  # noqa: E402

from nwb_latents.pipeline.stages import import_lfads, ingest_session  # noqa: E402

FILE = HERE / "data/digests.json"


def as_stored(kind, content):
    """Return what a file has to hold for settings of today: what it leaves out is read as it was before."""
    plain, unsaid = (
        each.model_dump(mode="json") for each in (kind.model_validate(content), as_read(kind, {}))
    )
    told = {name: value for name, value in plain.items() if name not in content and value != unsaid[name]}
    stored = told | content
    try:
        read = as_read(kind, stored).model_dump(mode="json")
    except ValueError:
        return json.loads(json.dumps(stored))
    return json.loads(json.dumps(_told_within(stored, plain, read)))


def _told_within(content, plain, read):
    """Return the content with what settings within it do not say, and is read in another way."""
    told = {name: value for name, value in plain.items() if name not in content and value != read[name]}
    inner = {
        name: _told_within(each, plain[name], read[name])
        for name, each in content.items()
        if isinstance(each, dict) and isinstance(plain.get(name), dict)
    }
    return content | told | inner


def main() -> None:
    """Write the file again with the rows that are missing."""
    import_lfads.TRANSFORM_VERSION = ingest_session.TRANSFORM_VERSION = TRANSFORM_OF_THE_TABLE
    written = json.loads(FILE.read_text())
    for name in SETTINGS:
        kind = settings_class(name)
        table = written.setdefault(name, {"columns": ["content", "digest"], "rows": []})
        ways = ways_of(name)
        known = {row[1] for row in table["rows"]}
        for _, _, content in [("", {}, {}), *single_changes(kind)]:
            settings = kind.model_validate(content)
            row = [as_stored(kind, content), *(way(settings)[:16] for way in ways.values())]
            if row[1] not in known:
                known.add(row[1])
                table["rows"].append(row)
                print(f"{name}: {row[0]}")  # noqa: T201
    tables = (
        f'{json.dumps(name)}: {{"columns": {json.dumps(table["columns"])}, "rows": [\n'
        + ",\n".join(json.dumps(row) for row in table["rows"])
        + "\n]}"
        for name, table in written.items()
    )
    FILE.write_text("{\n" + ",\n".join(tables) + "\n}\n")


if __name__ == "__main__":
    main()
