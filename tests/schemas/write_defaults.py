"""Write the table of defaults anew: `python tests/schemas/write_defaults.py`, after a default was changed on
purpose. What changed then stands in the diff of `data/defaults.json`, and belongs into the changelog.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from single_changes import SETTINGS, default_values

TABLE = Path(__file__).parent / "data/defaults.json"


def defaults_of_today():
    """Return the default of every setting, by class and dotted name."""
    return {name: default_values(name) for name in SETTINGS}


if __name__ == "__main__":
    TABLE.write_text(json.dumps(defaults_of_today(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
