"""Battles from files: what loads is consistent and can be played, what does not is told clearly."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist.envs import make
from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, SkirmishEnv, battle_map, feature, scenario
from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.lineup import roster
from dm2_dist.envs.skirmish.options import RewardFlags
from dm2_dist.envs.skirmish.profile import LIBERTY
from dm2_dist.envs.skirmish.scenario import ScenarioError

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "scenarios").iterdir())
DOCUMENT = ROOT / "docs" / "scenarios.md"

Document = dict[str, Any]

# Ground with a wall from north to south, open in the four southern rows.
WALLED = ["." * 14 + "####" + "." * 14] * 28 + ["." * 32] * 4


def valid() -> Document:
    return {
        "name": "small",
        "episode_limit": 50,
        "terrain": "lane",
        "enemy_types": ["zergling", "zealot"],
        "allies": [{"unit": "stalker", "count": 2, "point": [9, 16.0]}],
        "enemies": [
            {"unit": "zealot", "count": 1, "point": [20.0, 16.0]},
            {"unit": "zergling", "count": 3, "point": [23.0, 16.0]},
        ],
        "order": {"kind": "attack_move", "points": [[9.0, 16.0]]},
    }


def written(folder: Path, content: object, name: str = "battle.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def assert_consistent(row: BattleMap) -> None:
    """Compare the sizes of a battle with those that its groups imply."""
    allies = [group.unit for group in row.allies for _ in range(group.count)]
    enemies = [group.unit for group in row.enemies for _ in range(group.count)]
    kinds = max(len(set(allies)), len(set(enemies)))
    bits = kinds if kinds > 1 else 0
    healers = any(unit.name == "medivac" for unit in allies)
    actions = 6 + max(len(enemies), len(allies) if healers else 0)
    own, other = (int(any(unit.shield for unit in side)) for side in (allies, enemies))
    sizes = feature.sizes(row, FeatureFlags())
    assert 1 <= row.num_agents == len(allies) <= 64
    assert 1 <= row.num_enemies == len(enemies) <= 64
    assert row.num_type_bits == bits
    assert row.num_actions == actions
    assert sizes.observation == (
        4
        + len(enemies) * (5 + other + bits)
        + (len(allies) - 1) * (5 + own + bits)
        + 1
        + own
        + bits
    )
    assert sizes.state == (
        len(allies) * (4 + own + bits + actions) + len(enemies) * (3 + other + bits)
    )
    assert set(row.enemy_types) == (set(enemies) if bits else set())
    assert len(row.enemy_types) == len(set(row.enemy_types)) <= bits
    pool = sum(unit.health + unit.shield for unit in enemies)
    assert RewardFlags().max_reward(row) == 200 + 10 * len(enemies) + pool
    assert 1 <= row.episode_limit
    places = [place for _, place in roster(row)]
    assert len(places) == len(allies) + len(enemies)
    for x, y in places + [group.point for group in row.allies + row.enemies]:
        assert row.terrain.pathable(int(x), int(y))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_can_be_played(path: Path) -> None:
    row = battle_map.find(str(path))
    assert_consistent(row)
    batch = SkirmishBatch(str(path), 3, seed=1)
    spec = make.describe("skirmish", str(path))
    assert (spec.map_name, batch.map_name) == (row.name, row.name)
    assert batch.observation.shape == (3, spec.num_agents, spec.observation_size)
    assert batch.state.shape == (3, spec.state_size)
    assert batch.available_actions.shape == (3, spec.num_agents, spec.num_actions)
    generator = np.random.default_rng(1)
    batch.reset()
    returns = np.zeros(3)
    for _ in range(row.episode_limit):
        listed = batch.available_actions
        assert listed.any(axis=2).all()
        assert np.isfinite(batch.observation).all()
        assert np.isfinite(batch.state).all()
        batch.step(np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2))
        returns += batch.exact_reward
    assert batch.finished.all()
    assert (returns > 0).all()
    assert (returns < 25).all()  # regeneration is paid for too


def test_mixed_side_shows_shields_and_spare_type_bits() -> None:
    path = next(path for path in EXAMPLES if path.name == "patrol.toml")
    batch = SkirmishBatch(str(path), 1, seed=1)
    batch.reset()
    # health, cooldown or energy, x, y, four bits: marauders, marines, medivac
    allies = batch.state[0, : 9 * 8].reshape(9, 8)
    assert allies[:, 4:].argmax(axis=1).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2]
    assert (allies[:, 4:].sum(axis=1) == 1).all()
    # health, x, y, shield, four bits in the order of `enemy_types`
    enemies = batch.state[0, 9 * 8 : 9 * 8 + 8 * 8].reshape(8, 8)
    assert enemies[:, 3].tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert enemies[:, 4:].argmax(axis=1).tolist() == [0, 0, 1, 2, 2, 2, 2, 3]
    assert (enemies[:, 4:].sum(axis=1) == 1).all()


def test_medivac_can_treat_every_agent(tmp_path: Path) -> None:
    content = valid()
    content["allies"] = [
        {"unit": "marine", "count": 8, "point": [9, 16]},
        {"unit": "medivac", "count": 1, "point": [9, 16]},
    ]
    env = SkirmishEnv(str(written(tmp_path, content)), seed=1)
    env.reset()
    assert (env.n_enemies, env.n_actions) == (4, 6 + 9)
    assert env.get_avail_agent_actions(8)[6:] == [1] * 8 + [0]
    assert not any(env.get_avail_agent_actions(0)[10:])


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    for path in EXAMPLES:
        if path.suffix == ".toml":
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            assert scenario.load(written(tmp_path, content)) == scenario.load(path)


def test_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    description, program = (
        re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0]
        for language in ("toml", "python")
    )
    (tmp_path / "ambush.toml").write_text(description, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    played: dict[str, Any] = {}
    exec(program, played)  # what a reader would type
    assert played["terminated"] is True


def test_documentation_names_every_key_and_kind() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    words = [*scenario.PLANS, *LIBERTY.units, "attack_move", "attack_segment", "hunt", "hold"]
    words += ["name", "episode_limit", "terrain", "rows", "allies", "enemies", "enemy_types"]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_drawing_has_north_at_the_top(tmp_path: Path) -> None:
    content = valid()
    del content["terrain"]
    content["rows"] = WALLED
    plan = scenario.load(written(tmp_path, content)).terrain
    drawn = ["".join(".#"[not plan.pathable(x, 31 - y)] for x in range(32)) for y in range(32)]
    assert drawn == WALLED
    assert plan.height(0, 31) > plan.height(14, 31)


@pytest.mark.parametrize("name", MAPS)
def test_every_map_of_smac_can_be_written_as_a_scenario(name: str, tmp_path: Path) -> None:
    row = MAPS[name]
    content = {
        "name": "copy",
        "episode_limit": row.episode_limit,
        "terrain": row.terrain.name,
        "allies": [group_of(group) for group in row.allies],
        "enemies": [group_of(group) for group in row.enemies],
        "order": {"kind": row.order.kind, "points": row.order.points},
    }
    if row.enemy_types:
        content["enemy_types"] = [unit.name for unit in row.enemy_types]
    copied = scenario.load(written(tmp_path, content))
    assert copied.name == "copy"
    assert_consistent(copied)
    for entry in ("episode_limit", "allies", "enemies", "order", "terrain", "enemy_types"):
        assert getattr(copied, entry) == getattr(row, entry)


def group_of(group: battle_map.Group) -> Document:
    return {"unit": group.unit.name, "count": group.count, "point": group.point}


Change = Callable[[Document], object]


def put(*path: str | int, to: object) -> Change:
    """Make a change that sets the value at a path."""

    def change(content: Document) -> None:
        at: Any = content
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = to

    return change


def drawn(rows: object) -> Change:
    def change(content: Document) -> None:
        del content["terrain"]
        content["rows"] = rows

    return change


WRONG: list[tuple[Change, str]] = [
    (lambda c: c.pop("name"), "name is missing; add it"),
    (put("name", to=3), "name is a whole number; it must be a string"),
    (put("name", to="a/b"), "name is 'a/b'; use 1 to 64 letters"),
    (put("name", to="3m"), "name is '3m', which is a map of SMAC; choose another"),
    (put("episode_limit", to=0), "episode_limit is 0; it must be 1 to 10000"),
    (put("episode_limit", to=True), "episode_limit is true or false; it must be a whole number"),
    (put("episode_limit", to=10**30), "episode_limit is a number of more than twelve digits"),
    (put("colour", to="red"), "the file has the unknown key 'colour'; Known keys: name"),
    (put("enemy", to=[]), "unknown key 'enemy'; did you mean enemies"),
    (put("terrain", to="lame"), "terrain is 'lame'; did you mean lane"),
    (lambda c: c.pop("terrain"), "the ground must be given once; give either terrain"),
    (put("rows", to=WALLED), "the ground must be given once"),
    (drawn(WALLED[1:]), "rows has 31 strings; it needs 32, north row first"),
    (drawn([*WALLED[:5], "." * 31, *WALLED[6:]]), r"rows\[5\] has 31 characters; it needs 32"),
    (drawn([*WALLED[:31], "." * 31 + "x"]), r"rows\[31\] has the character 'x'; use '#'"),
    (drawn([*WALLED[:31], 7]), r"rows\[31\] is a whole number; it must be a string"),
    (drawn(["." * 32, ".#" * 16] * 16), "path finding handles 84; draw fewer and larger cliffs"),
    (put("allies", to=[]), "allies has 0 units; a side has 1 to 64"),
    (put("allies", to={}), "allies is a table; it must be a list"),
    (put("allies", 0, to="stalker"), r"allies\[0\] is a string; it must be a table"),
    (put("allies", 0, "unit", to="stalkr"), r"allies\[0\]\.unit is 'stalkr'; did you mean stalker"),
    (put("allies", 0, "unit", to="medivac"), "allies has only healers; add a unit that fights"),
    (put("allies", 0, "count", to=65), r"allies\[0\]\.count is 65; it must be 1 to 64"),
    (put("allies", 0, "count", to=2.0), r"allies\[0\]\.count is a number; it must be a whole"),
    (put("enemies", 1, "count", to=64), "enemies has 65 units; a side has 1 to 64"),
    (put("enemies", 1, "facing", to=1), r"enemies\[1\] has the unknown key 'facing'"),
    (lambda c: c["enemies"][1].pop("point"), r"enemies\[1\]\.point is missing; add it"),
    (put("enemies", 1, "point", to=[23]), r"enemies\[1\]\.point has 1 values; a point is \[x, y\]"),
    (put("enemies", 1, "point", to=[23, 32]), r"point\[1\] is 32; it must be at least 0 and below"),
    (put("enemies", 1, "point", to=[float("nan"), 16]), r"point\[0\] is nan; it must be at least"),
    (
        put("enemies", 1, "point", to=[True, 16]),
        r"point\[0\] is true or false; it must be a number",
    ),
    (put("enemies", 1, "point", to=[23, 4]), r"point \(23, 4\) is on a cliff; choose a point on"),
    (put("order", "kind", to="atack_move"), "order.kind is 'atack_move'; did you mean attack_move"),
    (
        lambda c: c["order"].pop("points"),
        "order.points has 0 points, but kind 'attack_move' takes 1",
    ),
    (put("order", "kind", to="attack_segment"), r"takes 2; write 2 as \[\[x, y\], \[x, y\]\]"),
    (put("order", "kind", to="hunt"), "order.points has 1 points, but kind 'hunt' takes 0; leave"),
    (put("order", "points", 0, to=[9, 2]), r"order\.points\[0\] \(9, 2\) is on a cliff"),
    (
        put("enemy_types", to=["zealot"]),
        "enemy_types must name each kind of the enemy once: zealot",
    ),
    (put("enemy_types", to=["zealot", "marine"]), "enemy_types must name each kind of the enemy"),
    (
        put("enemy_types", to=["zealot", "zerg"]),
        r"enemy_types\[1\] is 'zerg'; did you mean zergling",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_what_is_wrong_is_told_in_one_sentence(
    change: Change, sentence: str, tmp_path: Path
) -> None:
    content = valid()
    change(content)
    path = written(tmp_path, content)
    with pytest.raises(ScenarioError, match=sentence) as caught:
        battle_map.find(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_units_must_fit_around_their_point(tmp_path: Path) -> None:
    content = valid()
    # A pocket of 4 by 3 cells in the south-west corner, behind a wall.
    pocket = ["." * 32] * 27 + ["######" + "." * 26] * 2 + ["....##" + "." * 26] * 3
    del content["terrain"]
    content["rows"] = pocket
    content["order"] = {"kind": "hold"}
    content["allies"][0].update(unit="marine", count=20, point=[2.0, 1.5])
    with pytest.raises(ScenarioError, match=r"allies\[0\]\.point has no room for the 20 units"):
        scenario.load(written(tmp_path, content))
    content["allies"][0]["count"] = 4
    assert scenario.load(written(tmp_path, content)).num_agents == 4


def test_orders_must_be_within_reach(tmp_path: Path) -> None:
    content = valid()
    del content["terrain"]
    content["rows"] = ["." * 14 + "####" + "." * 14] * 32
    path = written(tmp_path, content)
    with pytest.raises(ScenarioError, match=r"points\[0\] cannot be walked to from enemies\[0\]"):
        scenario.load(path)
    content["rows"] = WALLED
    content["order"] = {"kind": "attack_segment", "points": [[9, 16], [23, 16]]}
    with pytest.raises(ScenarioError, match=r"a cliff between its ends, at \(14\.00, 16\.00\)"):
        scenario.load(written(tmp_path, content))
    content["order"] = {"kind": "attack_segment", "points": [[9, 2], [23, 2]]}
    assert_consistent(scenario.load(written(tmp_path, content)))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", b"{", "not valid JSON: .*; mend it there"),
        ("a.toml", b"name = ", "not valid TOML: .*; mend it there"),
        ("a.json", b"\xff\xfe", "the file is not text in UTF-8"),
        ("a.json", b'{"name": 1, "name": 2}', "the key 'name' is given twice; keep one of them"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.toml", b"a = " + b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"episode_limit": ' + b"9" * 5000 + b"}", "the file is not valid JSON"),
        ("a.json", b"[]", "the file is a list; it must be a table"),
        ("a.yaml", b"", "the name must end in .toml or .json"),
    ],
)
def test_file_that_cannot_be_read(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScenarioError, match=sentence):
        scenario.load(tmp_path / name)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"gone\.toml: there is no such file; check the path"):
        make.describe("skirmish", str(tmp_path / "gone.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ScenarioError, match=r"folder\.toml: the file cannot be read \(.*\)"):
        battle_map.find(str(tmp_path / "folder.toml"))
    with pytest.raises(ScenarioError, match="the file cannot be read"):
        battle_map.find("a\0b.toml")


points = st.tuples(st.floats(0, 31.99), st.floats(0, 31.99))
groups = st.lists(
    st.fixed_dictionaries(
        {
            "unit": st.sampled_from(sorted(LIBERTY.units)),
            "count": st.integers(1, 30),
            "point": points,
        }
    ),
    min_size=1,
    max_size=4,
)
orders = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("attack_move"), "points": st.lists(points, min_size=1, max_size=1)}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("attack_segment"), "points": st.lists(points, min_size=2, max_size=2)}
    ),
    st.fixed_dictionaries({"kind": st.sampled_from(["hunt", "hold"])}),
)
documents = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
        "episode_limit": st.integers(1, 10_000),
        "terrain": st.sampled_from(["open", "open", "lane", "octagon"]),
        "allies": groups,
        "enemies": groups,
        "order": orders,
    }
)
shared_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load_or_refuse(path: Path) -> BattleMap | None:
    """Load a file; None if it is refused. Any other exception is a failure of the test."""
    try:
        row = scenario.load(path)
    except ScenarioError:
        return None
    assert_consistent(row)
    return row


@settings(shared_folder, max_examples=60)
@given(content=documents)
def test_whatever_loads_is_consistent(content: Document, tmp_path: Path) -> None:
    load_or_refuse(written(tmp_path, content))


@settings(shared_folder, max_examples=25)
@given(content=documents, controlled=st.booleans())
def test_whatever_loads_can_be_played(content: Document, controlled: bool, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    row = load_or_refuse(path)
    if row is None:
        return
    batch = SkirmishBatch(str(path), 2, opponents="policy" if controlled else "computer")
    batch.reset()
    generator = np.random.default_rng(1)

    def drawn_from(listed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)

    for _ in range(6):
        others = None if batch.opponents is None else batch.opponents.available_actions
        batch.step(
            drawn_from(batch.available_actions), None if others is None else drawn_from(others)
        )
        assert np.isfinite(batch.observation).all()
        assert np.isfinite(batch.state).all()
        assert (np.abs(batch.state) <= 200).all()  # energy of a medivac is the largest entry
        assert ((batch.unit_x > -1) & (batch.unit_x < 33)).all()


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-1, 40), max_size=3),
    st.just({}),
)


def places(content: object) -> list[tuple[str | int, ...]]:
    """List the path of every value inside a document."""
    entries: list[tuple[str | int, object]] = []
    if isinstance(content, dict):
        entries = list(content.items())
    elif isinstance(content, list):
        entries = list(enumerate(content))
    return [(key, *rest) for key, inner in entries for rest in [(), *places(inner)]]


@settings(shared_folder, max_examples=150)
@given(data=st.data(), wrong=junk)
def test_one_wrong_value_is_never_another_exception(
    data: st.DataObject, wrong: object, tmp_path: Path
) -> None:
    content = valid()
    place = data.draw(st.sampled_from(places(content)))
    put(*place, to=wrong)(content)
    row = load_or_refuse(written(tmp_path, content))
    if row is not None:  # a change that makes sense: another number, name or point
        assert type(wrong) in (int, float, str, list)


def test_every_key_that_is_left_out_or_added_is_refused(tmp_path: Path) -> None:
    optional = ("enemy_types",)
    tables = [place for place in [(), *places(valid())] if isinstance(at(valid(), place), dict)]
    for table in tables:
        for key in at(valid(), table):
            content = valid()
            del at(content, table)[key]
            assert (load_or_refuse(written(tmp_path, content)) is not None) == (key in optional)
        content = valid()
        at(content, table)["spare"] = 1
        assert load_or_refuse(written(tmp_path, content)) is None


def at(content: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        content = content[step]
    return content


@settings(shared_folder, max_examples=150)
@given(
    source=st.sampled_from(EXAMPLES),
    part=st.floats(0, 1),
    cut=st.integers(0, 2),
    insert=st.binary(max_size=2),
)
def test_one_damaged_place_in_a_file_is_never_another_exception(
    source: Path, part: float, cut: int, insert: bytes, tmp_path: Path
) -> None:
    content = source.read_bytes()
    begin = int(part * len(content))
    path = tmp_path / f"damaged{source.suffix}"
    path.write_bytes(content[:begin] + insert + content[begin + cut :])
    load_or_refuse(path)


def test_valid_document_stays_as_it_is(tmp_path: Path) -> None:
    content = valid()
    row = scenario.load(written(tmp_path, copy.deepcopy(content)))
    assert [unit.name for unit in row.enemy_types] == content["enemy_types"]
    assert_consistent(row)
