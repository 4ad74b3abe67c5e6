#!/usr/bin/env python3
"""Holds dashboard.json against the dashboard schema that Grafana publishes as Python classes (grafana-foundation-sdk).

Reads it into those classes and writes it again: a key that the schema does not know is lost on the way, and a value
that does not fit is another one afterwards. Ends with 1 and their paths where there are any.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# belongs to Prometheus' data source, as `expr` does, and the classes have room for the latter only
NOT_IN_SCHEMA = {"/annotations/list/0/titleFormat"}


def lost(before, after, path=""):
    """The paths at which `after` lacks what `before` has."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if value is not None:
                yield from lost(value, after.get(key), f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for n, (value, other) in enumerate(zip(before, after)):
            yield from lost(value, other, f"{path}/{n}")
    elif before != after:
        yield path


def main():
    register_default_plugins()
    before = json.loads((pathlib.Path(__file__).parent / "dashboard.json").read_text())
    after = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(before)))
    paths = sorted(set(lost(before, after)) - NOT_IN_SCHEMA)
    for path in paths:
        print(f"dashboard.json: {path} is not what Grafana's schema has there", file=sys.stderr)
    panels = [panel for panel in before["panels"] if panel["type"] != "row"]
    print(f"dashboard.json: {len(panels)} panels hold to the schema" if not paths else "it does not hold to the schema")
    return 1 if paths else 0


if __name__ == "__main__":
    sys.exit(main())
