"""The alert and recording rules: valid, tried out, explained, and about metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitoring import catalogue

MONITORING = Path(catalogue.__file__).parent
ALERTS = MONITORING / "rules" / "alerts.yml"
RECORDING = MONITORING / "rules" / "recording.yml"
TRIALS = MONITORING / "rules_test" / "alerts.yml"
RUNBOOK = MONITORING.parent / "docs" / "operations.md"


def promtool(*words: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; Debian's package is `prometheus`")
    done = subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, str]:
    """The text of each alert, by name."""
    parts = re.split(r"- alert: (\w+)", ALERTS.read_text())[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def expressions() -> str:
    """The rules without comments and words for people."""
    text = ALERTS.read_text() + RECORDING.read_text()
    return re.sub(r"(?m)^ *(#|summary:|description:|runbook_url:).*$", "", text)


def test_configuration_and_rules_are_valid() -> None:
    assert "2 rule files found" in promtool("check", "config", MONITORING / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS, RECORDING)


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", TRIALS)
    trials = TRIALS.read_text()
    fired = set(re.findall(r'"(Dm2\w+)"|alertname: (Dm2\w+)', trials))
    assert {name for pair in fired for name in pair if name} == alerts().keys()


def test_the_alerts_are_those_that_are_promised() -> None:
    promised = (
        *("Dm2LedgerBroken", "Dm2Stalled", "Dm2ActorMissing", "Dm2DropRatioHigh"),
        *("Dm2ParametersStale", "Dm2LearnerSkew", "Dm2EnvRestarts", "Dm2NonFinite"),
        *("Dm2DiskAlmostFull", "Dm2HeadDown"),
    )
    assert set(promised) <= alerts().keys()


def test_every_metric_in_a_rule_is_exported() -> None:
    known = {row.name for row in catalogue.TABLE}
    named = set(re.findall(r"\bdm2(?:_[a-z]+)+", expressions())) - {"dm2_recording", "dm2_alerts"}
    assert len(named) > 15
    assert named <= known


def test_every_recorded_series_that_a_rule_uses_is_recorded() -> None:
    recorded = set(re.findall(r"record: (\S+)", RECORDING.read_text()))
    used = set(re.findall(r"\bdm2:[a-z0-9_:]+", expressions()))
    assert used == recorded


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_it_is_and_what_to_do(name: str) -> None:
    text = alerts()[name]
    assert re.search(r"severity: (critical|warning)\n", text)
    assert re.search(r"summary: \S", text)
    assert re.search(r"description: \S", text)
    assert f"runbook_url: docs/operations.md#{name.lower()}\n" in text
    section = re.search(rf"^### {name}\n(.*?)(?=^##)", RUNBOOK.read_text(), re.M | re.S)
    assert section is not None, f"docs/operations.md has no section {name}"
    for part in ("*What it means.*", "*Look at*", "*Do*"):
        assert part in section[1]


def test_labels_and_phases_in_the_rules_exist() -> None:
    values = {value for row in catalogue.TABLE for value in row.values}
    values |= set(catalogue.ROLES) | {"env_restart"}
    matched = re.findall(r'(?:phase|state|reason|role)(?:=|!=|=~)"([^"]+)"', expressions())
    assert matched
    assert {value for text in matched for value in text.split("|")} <= values
