"""`dm2 report` as a command, at the end of a real run, and in a real browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dm2_dist import config as configuration
from dm2_dist import presets
from launch import report as command
from monitoring import report as pages
from monitoring import report_source
from monitoring.report_document import Battle

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
EVIL = "<img src=x onerror=console.error(1)><script>console.error(2)</script>"
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "16", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "8"),
    *("--max-env-steps", "1500"),
]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def report(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "launch.cli", "report", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A run directory without checkpoints, written by hand."""
    root = tmp_path / "run <b>"
    (root / "logs").mkdir(parents=True)
    document = {"config": json.loads(configuration.to_json(presets.quickstart()))}
    document["versions"] = {"python": EVIL}
    (root / "config.json").write_text(json.dumps(document))
    lines = [
        {"env_steps": 1000 * k, "win_rate": k / 9, "return_mean": 2.0 * k, "episodes": 32}
        for k in range(1, 9)
    ]
    (root / "evaluations.jsonl").write_text("\n".join(map(json.dumps, lines)))
    lines = [{"agent": k % 3, "env_steps": 500 * (k // 3), "entropy": 1 / k} for k in range(1, 60)]
    (root / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def test_a_run_ends_with_a_report_that_shows_its_battles(tmp_path: Path) -> None:
    root = tmp_path / "run"
    line = [sys.executable, "launch/local.py", "--run-dir", str(root), *SMALL]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "report.html" in done.stdout  # the summary names the files that are there
    page = (root / "report.html").read_text()
    assert "Played for this page by version" in page
    assert "<iframe srcdoc=" in page
    assert "the books close" in page
    assert len(page) < 2_000_000
    assert not list(root.glob(".report*"))


def test_a_report_that_cannot_be_written_costs_a_run_one_line(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (written / "report.html").mkdir()
    command.write_at_end(written, lambda: False)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("dm2: report.html is not complete: ")
    assert "Is a directory" in said[0]


def test_a_report_that_takes_too_long_is_given_up(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_END_SECONDS", 0.0)
    command.write_at_end(written, lambda: False)
    assert "it took longer than 0 s; try `dm2 report " in capsys.readouterr().err
    assert not list(written.glob(".report*"))


def test_who_does_not_want_to_wait_does_not(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([False, True])
    command.write_at_end(written, lambda: next(answers))
    assert capsys.readouterr().err == ""
    assert not (written / "report.html").exists()


def test_a_run_without_checkpoints_has_a_report_without_battles(written: Path) -> None:
    done = report(written)
    assert done.returncode == 0, done.stderr
    page = (written / "report.html").read_text()
    assert "There is no battle to show:" in page
    assert "<iframe" not in page
    assert "summary.json is missing" in page


NO_RUN = "nowhere holds no run: config.json is missing; name the folder of a run, such as runs/NAME"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ["nowhere"],
            1,
            f"dm2: {NO_RUN}",
        ),
        ([], 2, "dm2: report needs at least one run directory"),
        (
            ["RUN", "nowhere"],
            1,
            f"dm2: {NO_RUN}",
        ),
        (["RUN", "--output", "page.pdf"], 2, "dm2: page.pdf must end in .html"),
        (["RUN"] * 65, 2, "dm2: 65 runs are too many for one page; 64 fit"),
    ],
)
def test_wrong_words_are_one_sentence(
    written: Path, words: list[str], code: int, sentence: str
) -> None:
    done = report(*(written if word == "RUN" else word for word in words))
    assert (done.returncode, done.stderr.strip()) == (code, sentence)


def test_neither_a_report_nor_its_battles_need_torch() -> None:
    code = (
        "import sys; from launch import report, report_battles;"
        "from monitoring import report_comparison; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0


class Browser:
    """One page of a headless Chromium, spoken to by its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        line = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu"]
        line += ["--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}"]
        line += ["--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank"]
        self.process = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._profile = profile

    def connect(self) -> None:
        import websocket

        noted, deadline = self._profile / "DevToolsActivePort", time.monotonic() + 60
        while not (noted.exists() and noted.read_text().strip()):
            assert self.process.poll() is None, "the browser did not start"
            assert time.monotonic() < deadline, "the browser did not start in time"
            time.sleep(0.05)
        port = noted.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
            tabs = json.load(answer)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._socket = websocket.create_connection(address, timeout=60)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            heard = json.loads(self._socket.recv())
            if heard.get("id") == self._number:
                return dict(heard["result"])
            self.events.append(heard)

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + 60
        while self.value(expression) is not True:
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    pytest.importorskip("websocket", reason="websocket-client is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    opened = Browser(tmp_path / "profile")
    try:
        opened.connect()
        yield opened
    finally:
        opened.close()


def open_page(browser: Browser, path: Path, width: int, theme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    browser.call("Page.navigate", url=path.as_uri())
    browser.until("document.readyState === 'complete' && location.protocol === 'file:'")


def test_the_page_opens_in_a_browser_without_an_error_or_a_request(
    written: Path, browser: Browser
) -> None:
    path = written / "report.html"
    run = report_source.read(written)
    path.write_text(pages.page(run, [Battle("a battle", BATTLE)], EVIL))
    grounds = set()
    for width, theme in ((1400, "light"), (400, "dark")):
        open_page(browser, path, width, theme)
        assert browser.value("document.documentElement.scrollWidth") <= width
        grounds.add(browser.value("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    browser.value("document.querySelector('svg[data-frame]').scrollIntoView()")
    box = browser.value(
        "(() => { const b = document.querySelector('svg[data-frame]').getBoundingClientRect();"
        "return [b.left + b.width / 2, b.top + b.height / 2] })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    browser.until("getComputedStyle(document.getElementById('tip')).display === 'block'")
    assert "win rate: 0." in browser.value("document.getElementById('tip').textContent")
    browser.value("addEventListener('message', (event) => { window.heard = event.data })")
    browser.value("document.querySelector('iframe').scrollIntoView()")
    browser.value("(() => { const f = document.querySelector('iframe'); f.srcdoc = f.srcdoc })()")
    browser.until("window.heard === 'the battle plays'")
    assert [event for event in browser.events if event["method"] in ERRORS] == []
    asked = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert set(asked) == {path.as_uri()}


def test_a_script_that_got_into_the_page_would_not_run(written: Path, browser: Browser) -> None:
    path = written / "report.html"
    page = pages.page(report_source.read(written))
    strange = "<script>window.ran = 'script'</script><b onclick=\"window.ran = 'click'\" id=b>b</b>"
    path.write_text(page.replace("<main>", f"<main>{strange}", 1))
    open_page(browser, path, 800, "light")
    browser.value("document.getElementById('b').click()")
    assert browser.value("window.ran === undefined") is True
    assert browser.value("document.getElementById('b') !== null") is True


ERRORS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
BATTLE = "<html><body><script>parent.postMessage('the battle plays', '*')</script></body></html>"
