"""Draw dashboards with headless Chromium: `draw.py FOLDER PROMETHEUS RUN SECONDS [END]`.

FOLDER is where the pictures go, PROMETHEUS an address such as http://127.0.0.1:9090, SECONDS the
length of the time range, END its end in seconds since 1970 (now, if not given). Needs what
`npm run build` made; docs/grafana.md has the whole procedure. Exit code 1 if a panel shows an
error; panels without data are only named.
"""

import functools
import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).parent
DASHBOARDS = HERE.parents[1] / "monitoring" / "dashboards"
WIDTH = 1600
CELL = 38
MARGIN = 72
DEADLINE_SECONDS = 120.0
TRIES = 3
"""A busy machine leaves a chart blank now and then; the largest picture has all of them."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A picture's requests are no news."""


def _chromium(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ]
        command += [
            f"--user-data-dir={profile}",
            "--virtual-time-budget=60000",
            "--run-all-compositor-stages-before-draw",
            *arguments,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
        )
    return done.stdout


def _photograph(page: str, height: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        _chromium(f"--window-size={WIDTH + 32},{height}", f"--screenshot={picture}", page)
        return picture.read_bytes()


def _draw(page: str, height: int, picture: Path) -> list[str]:
    """Write the picture; returns the titles of panels without curves or with an error."""
    picture.write_bytes(max((_photograph(page, height) for _ in range(TRIES)), key=len))
    document = _chromium(f"--window-size={WIDTH + 32},{height}", "--dump-dom", page)
    panels = re.findall(r"<div [^>]*data-panel=[^>]*>", document)
    assert panels, "the page drew nothing"
    failed = []
    for panel in panels:
        found = dict(re.findall(r'data-(\w+)="([^"]*)"', panel))
        if "error" in found or found.get("curves", "0") == "0":
            failed.append(f"{found['panel']}: {found.get('error', 'no data')}")
    return failed


def main() -> int:
    folder, prometheus, run, seconds = sys.argv[1:5]
    end = float(sys.argv[5]) if len(sys.argv) > 5 else time.time()
    handler = functools.partial(_Quiet, directory=str(HERE / "built"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    errors = 0
    for file in sorted(DASHBOARDS.glob("*.json")):
        panels = json.loads(file.read_text())["panels"]
        bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        options = {
            "dashboard": file.stem,
            "prometheus": prometheus,
            "run": run,
            "from": int(end - float(seconds)),
            "to": int(end),
            "width": WIDTH,
        }
        page = f"http://127.0.0.1:{server.server_address[1]}/?{urllib.parse.urlencode(options)}"
        picture = Path(folder) / f"grafana_{file.stem.removeprefix('dm2-')}.png"
        for problem in _draw(page, bottom * CELL + MARGIN, picture):
            errors += ": no data" not in problem
            sys.stdout.write(f"{file.stem}: {problem}\n")
    server.shutdown()
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main())
