"""Write the dashboards as TypeScript literals into typed/, for `tsc` to hold them to a schema.

Use: `python typed.py && npm run check`; docs/grafana.md has the whole procedure. A literal is
needed because TypeScript reads imported JSON with types too wide to compare.
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[1] / "monitoring" / "dashboards"
IMPORT = "import type { Curve, Page, Stat, TimeSeries } from '../schema.js';"
KINDS = {"stat": "Stat", "timeseries": "TimeSeries"}


def literals(text: str) -> list[str]:
    """One constant for the page, and one or two for each of its panels."""
    lines = [IMPORT, f"export const page: Page = {text.strip()};"]
    for panel in json.loads(text)["panels"]:
        if panel["type"] == "row":
            continue
        kind, number = KINDS[panel["type"]], panel["id"]
        lines.append(f"export const options{number}: {kind} = {json.dumps(panel['options'])};")
        if kind == "TimeSeries":
            custom = json.dumps(panel["fieldConfig"]["defaults"]["custom"])
            lines.append(f"export const curve{number}: Curve = {custom};")
    return lines


if __name__ == "__main__":
    folder = HERE / "typed"
    folder.mkdir(exist_ok=True)
    for file in sorted(DASHBOARDS.glob("*.json")):
        text = "\n".join(literals(file.read_text(encoding="utf-8")))
        (folder / f"{file.stem}.ts").write_text(text + "\n", encoding="utf-8")
