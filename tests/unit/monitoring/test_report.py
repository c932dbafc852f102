"""The report: what it says of good files, of damaged ones, and of those that want to run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist import config as configuration
from dm2_dist import presets
from dm2_dist.run_directory import RunDirectoryError
from monitoring import (
    report,
    report_comparison,
    report_curves,
    report_parts,
    report_setting,
    report_source,
)
from monitoring.report_document import Battle

FILES = ("config.json", "summary.json", "evaluations.jsonl", "metrics.jsonl")
EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
SUMMARY: dict[str, Any] = {
    "finished": True,
    "env_steps": 3000,
    "iterations": 3,
    "wall_seconds": 75.0,
    "env_steps_per_second": 40.0,
    "win_rate": 0.5,
    "win_rate_best": 0.75,
    "ledger": {
        "produced": 210,
        "trained": 200,
        "dropped": {"duplicate": 7},
        "lost": {"actor_died": 3},
        "error": 0,
    },
    "restarts": {"actor": 1, "learner": 0},
    "time_share": {
        "actor": {"play": 0.25, "wait_ticket": 0.75},
        "learner": {"ppo": 0.9, "wait_data": 0.1},
    },
    "parameters_sha256": {"agent_0": "ab" * 32},
}
LOG = (
    "2026-11-21 18:29:24,000 INFO launch.supervisor started name=head-0 pid=12\n"
    "2026-11-21 18:30:26,000 INFO launch.supervisor ended name=actor-1 exit_code=-9 "
    "restarting=True\n"
    "2026-11-21 18:30:39,000 INFO launch.supervisor ended name=actor-1 exit_code=0 "
    "restarting=False\n"
)

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a run directory by hand."""

    def write(name: str = "run", *, rates: tuple[float, ...] = (0.25, 0.75, 0.5), **changes: Any):
        root = tmp_path / name
        (root / "logs").mkdir(parents=True)
        (root / "logs" / "launcher.log").write_text(LOG)
        config = json.loads(configuration.to_json(presets.quickstart()))
        document = {"config": config | changes, "versions": {"python": "3.11.7"}}
        (root / "config.json").write_text(json.dumps(document))
        (root / "summary.json").write_text(json.dumps(SUMMARY))
        with (root / "evaluations.jsonl").open("w") as file:
            for index, rate in enumerate(rates):
                line = {"env_steps": 1000 * index + 1000, "win_rate": rate, "episodes": 32}
                file.write(json.dumps(line | {"return_mean": 20 * rate, "version": index}) + "\n")
        with (root / "metrics.jsonl").open("w") as file:
            for index in range(6):
                line = {"agent": index % 2, "version": index // 2 + 1, "entropy": 1.5 - index / 10}
                line |= {"env_steps": 1000 * (index // 2) + 1000, "a_new_number": 7.0}
                line |= {"discriminator_accuracy": 0.99, "log_prob_mismatch": 2e-7}
                file.write(json.dumps(line) + "\n")
        return root

    return write


def page_of(root: Path) -> str:
    return report.page(report_source.read(root))


def text_of(page: str) -> str:
    """What a reader sees, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", page, flags=re.S))


def test_the_page_says_what_the_files_say(make: Make) -> None:
    page = page_of(make("my run"))
    text = text_of(page)
    assert "my run" in text
    assert "3m, ippo, pipelined, seed 0" in text
    assert "finished" in text
    assert "the books close" in text
    assert "34 % to 66 %" in text  # Wilson's interval of 16 in 32
    assert "75 % at 2000 steps" in text
    assert "210 produced" in text
    assert "dropped: duplicate 7 (3.3 %)" in text
    assert "lost: actor died 3 (1.4 %)" in text
    assert "1:02 actor-1 killed by SIGKILL" in text
    assert "learners are the bottleneck" in text.lower()
    assert "Exactly the preset quickstart" in text
    assert "hardly ever wrong" in text
    assert "a new number" in text
    assert "3.11.7" in text
    assert "About the files" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "finished"),
        ({"finished": False}, "stopped early; --resume goes on"),
        ({"finished": False, "failure": "actor-0 keeps failing"}, "failed; --resume goes on once"),
        ({"finished": True, "env_steps": 2000}, "no end recorded: it is going on, or was killed"),
        ({"finished": None}, "no end recorded: it is going on, or was killed"),
    ],
)
def test_the_head_of_the_page_says_how_the_run_ended(
    make: Make, changes: dict[str, Any], words: str
) -> None:
    root = make("run")
    (root / "summary.json").write_text(json.dumps(SUMMARY | changes))
    assert report_parts.state(report_source.read(root))[0].startswith(words)
    assert words in text_of(page_of(root))


def test_the_page_needs_no_network_and_runs_no_script_but_its_own(make: Make) -> None:
    battle = Battle("won", '<html><script>"battle"</script></html>')
    page = report.page(report_source.read(make()), [battle])
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:)?//""", page)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    scripts = re.search(r"script-src ([^;]*(?:&#x27;;|;)[^;]*)", policy[1])
    assert scripts is not None
    assert policy[1].count("sha256-") == 2
    assert "unsafe-inline" not in policy[1].split("style-src")[0]
    assert page.index("Content-Security-Policy") < page.index("<script")


def test_words_from_files_stay_words(make: Make) -> None:
    root = make("<img src=x onerror=alert(0)>", map=EVIL, preset=EVIL, schedule=EVIL)
    evil = json.loads(json.dumps(SUMMARY))
    evil["ledger"]["dropped"] = {EVIL: 4}
    evil["restarts"] = {EVIL: 1}
    evil["parameters_sha256"] = {EVIL: EVIL}
    evil["time_share"]["actor"] = {EVIL: 1.0}
    (root / "summary.json").write_text(json.dumps(evil))
    document = json.loads((root / "config.json").read_text())
    document["versions"] = {EVIL: EVIL}
    document["config"][EVIL] = EVIL
    (root / "config.json").write_text(json.dumps(document))
    (root / "metrics.jsonl").write_text(json.dumps({"agent": 0, "env_steps": 1, EVIL: 1.0}))
    (root / "logs" / "launcher.log").write_text(LOG.replace("actor-1", EVIL.replace(" ", "")))
    run = report_source.read(root)
    for page in (report.page(run, [Battle(EVIL, EVIL)], EVIL), report_comparison.page([run, run])):
        assert "<img" not in page
        assert page.count("<script") == 1
        assert "&lt;img" in page


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(make: Make, name: str) -> None:
    root = make()
    (root / name).unlink()
    text = text_of(page_of(root))
    assert "About the files" in text
    assert f"{name} is missing" in text


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(make: Make, name: str) -> None:
    root = make()
    (root / name).write_bytes(b'{"win_rate": \xff\n[1]\n' + b"[" * 100_000)
    text = text_of(page_of(root))
    assert f"{name} cannot be read" in text or f"{name}: 3 damaged lines" in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NUMBERS = st.integers() | st.floats() | JSON


@given(
    summary=st.fixed_dictionaries({}, optional=dict.fromkeys(SUMMARY, JSON)),
    evaluations=st.lists(
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("env_steps", "win_rate", "return_mean", "episodes", "return_std"), NUMBERS
            ),
        ),
        max_size=4,
    ),
    metrics=st.lists(
        st.fixed_dictionaries(
            {"agent": st.integers(-1, 2), "env_steps": st.floats()},
            optional={"entropy": NUMBERS, "value_loss": NUMBERS, "lag_max": st.floats()},
        ),
        max_size=5,
    ),
    config=JSON,
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_json_can_break_the_page(
    tmp_path: Path, summary: Any, evaluations: list[Any], metrics: list[Any], config: Any
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    for name, lines in (("evaluations", evaluations), ("metrics", metrics)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run = report_source.read(tmp_path)
    for page in (report.page(run), report_comparison.page([run, run])):
        for points in re.findall(r'points="([^"]*)"', page):
            assert re.fullmatch(r"(-?[\d.]+,-?[\d.]+ ?)+", points), points


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"nowhere holds no run: config.json is missing"):
        report_source.read(tmp_path / "nowhere")


def test_curves_that_go_on_after_the_summary_are_told(make: Make) -> None:
    root = make()
    (root / "summary.json").write_text(json.dumps(SUMMARY | {"env_steps": 2000}))
    assert "The curves go on after summary.json" in text_of(page_of(root))


def test_a_battle_that_is_too_large_is_left_out(make: Make) -> None:
    battles = [Battle("small", "<p>"), Battle("huge", "x" * 2_000_000)]
    page = report.page(report_source.read(make()), battles)
    assert page.count("<iframe") == 1
    assert "too large" in page
    assert len(page) < 2_000_000


def test_a_long_run_of_a_large_team_stays_below_two_megabytes(make: Make) -> None:
    root = make()
    names = ["entropy", "policy_loss", "value_loss", *(f"number_{index}" for index in range(25))]
    with (root / "metrics.jsonl").open("w") as file:
        for version in range(400):
            for agent in range(10):
                line = {name: (version * 31 % 17) * 0.37 for name in names}
                file.write(json.dumps({"agent": agent, "env_steps": version * 999, **line}) + "\n")
    page = page_of(root)
    assert len(page.encode()) < 2_000_000 - 2 * 300_000  # with room for two battles


def test_differences_from_the_preset_are_those_of_the_run(make: Make) -> None:
    run = report_source.read(make(seed=3, demonstrations="/data/d"))
    assert report_parts.against_preset(run.config, "quickstart") == [("seed", "0", "3")]
    assert report_parts.against_preset(run.config, "no such preset") is None


def test_runs_that_differ_in_their_seed_are_one_setting(make: Make) -> None:
    roots = [make(f"s{seed}", seed=seed) for seed in range(3)] + [make("d", algorithm="dm2")]
    groups = report_setting.group([report_source.read(root) for root in roots])
    assert [len(group.runs) for group in groups] == [3, 1]
    assert [group.label for group in groups] == ["ippo", "dm2"]


def test_a_comparison_has_curves_with_bands_and_differences(make: Make) -> None:
    roots = [
        make("a", seed=1, rates=(0.2, 0.4)),
        make("b", seed=2, rates=(0.4, 0.8)),
        make("c", seed=3, algorithm="impala", rates=(0.1, 0.1)),
    ]
    page = report_comparison.page([report_source.read(root) for root in roots])
    text = text_of(page)
    assert "2 settings: ippo (2 runs); impala (1 run)" in text
    assert "ippo 2 mean 60 % 40 % to 80 %" in text
    assert "impala 1 this run 10 %" in text
    assert re.search(r"algorithm ippo ippo impala", text)
    assert page.count('class="band c0"') == 2  # over the runs: win rate and return
    assert page.count('class="band c1"') == 1  # over the episodes: win rate alone
    assert "No difference in versions and machine" in text
    assert len(page) < 2_000_000


def test_maps_are_strata_of_one_estimate(make: Make) -> None:
    roots = [
        make(f"{name}{seed}", map=name, seed=seed, rates=(rate,))
        for name, rate in (("3m", 1.0), ("5m_vs_6m", 0.0))
        for seed in (1, 2)
    ]
    text = text_of(report_comparison.page([report_source.read(root) for root in roots]))
    assert "All maps of a setting together" in text
    # Each map keeps its share in every draw; without strata the interval would be wide.
    assert "ippo, pipelined: 3m, 5m_vs_6m 4 interquartile mean 50 % 50 % to 50 %" in text


def test_impossible_numbers_are_left_out(make: Make) -> None:
    root = make()
    good = {"env_steps": 10, "win_rate": 0.5, "return_mean": 1.0, "episodes": 8}
    wrong = [{"win_rate": 7}, {"episodes": 0}, {"env_steps": -1}, {"return_mean": float("nan")}]
    lines = [good, *(good | change for change in wrong)]
    (root / "evaluations.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [one.win_rate for one in report_source.read(root).evaluations] == [0.5]


def test_returns_have_an_interval_where_their_spread_was_recorded(make: Make) -> None:
    root = make()
    lines = [
        {"env_steps": k, "win_rate": 0.5, "return_mean": 10.0, "episodes": 16, "return_std": 4.0}
        for k in (1, 2)
    ]
    (root / "evaluations.jsonl").write_text("\n".join(map(json.dumps, lines)))
    band = report_curves.returns(report_source.read(root), 0).band
    assert band is not None
    assert band[0] == pytest.approx([10 - 1.96] * 2, abs=1e-3)
    assert band[1] == pytest.approx([10 + 1.96] * 2, abs=1e-3)
    assert "95 % interval of the mean" in text_of(page_of(root))
