"""Pictures, films and pages: everything that a scene holds can be seen."""

import base64
import dataclasses
import itertools
import json
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from dm2_dist.envs.skirmish import MAPS, liberty
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.pictures import (
    effect,
    film,
    glyph,
    ground,
    page,
    palette,
    picture,
    scene,
    sprite,
)
from dm2_dist.envs.skirmish.pictures.course import Course
from dm2_dist.envs.skirmish.pictures.effect import Beam, Burst, Heal, Missile, Strike

SIZE = 480


def still_course(map_name, num_loops=16, ended="won"):
    """A battle in which everybody stands at the starting place, hurt a little; agent 0 walks."""
    row = MAPS[map_name]
    stage = scene.make_stage(row, Options())
    units = len(stage.units)
    loops = np.zeros((num_loops + 1, field.NUM_TRACES, units), np.float32)
    generator = np.random.default_rng(3)
    loops[:, field.TRACE_X] = generator.uniform(8, 24, units)
    loops[:, field.TRACE_Y] = generator.uniform(10, 20, units)
    loops[:, field.TRACE_X, 0] += 0.125 * np.arange(num_loops + 1)
    loops[:, field.TRACE_HEALTH] = [0.75 * unit.health for unit in stage.units]
    loops[:, field.TRACE_SHIELD] = [0.5 * unit.shield for unit in stage.units]
    loops[:, field.TRACE_ENERGY] = [unit.energy for unit in stage.units]
    loops[:, field.TRACE_ALIVE] = 1
    for trace in (field.TRACE_STRIKE, field.TRACE_FLIGHT, field.TRACE_HEALING):
        loops[:, trace] = -1
    return Course(stage, loops, np.linspace(0, 20, num_loops // 8 + 1), ended)


def still_scene(map_name):
    return still_course(map_name).scene(8)


def changed(first, second):
    """Where two pictures differ."""
    return (np.asarray(first, np.int64) != np.asarray(second, np.int64)).any(axis=2)


def drawn(seen, **choices):
    return picture.draw(seen, size=SIZE, **choices)


@pytest.mark.parametrize("map_name", sorted(MAPS))
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_map_is_drawn_at_the_size_asked_for(map_name, theme):
    shown = drawn(still_scene(map_name), theme=theme)
    assert shown.dtype == np.uint8
    assert shown.shape[1:] == (SIZE, 3)
    assert shown.shape[0] % 2 == 0
    view = still_scene(map_name).stage.view
    higher = shown.shape[0] - SIZE * (view.north - view.south) / (view.east - view.west)
    assert 15 < higher < 40


def test_a_picture_of_no_size_is_refused():
    with pytest.raises(ValueError, match="size must be at least 160 pixels, not 100"):
        picture.draw(still_scene("3m"), size=100)


def test_drawing_twice_gives_the_same_picture():
    np.testing.assert_array_equal(drawn(still_scene("MMM2")), drawn(still_scene("MMM2")))


def test_there_is_a_glyph_for_every_kind_and_it_keeps_near_its_body():
    assert set(glyph.GLYPHS) == {unit.name for unit in liberty.UNIT_TYPES}
    for shapes in glyph.GLYPHS.values():
        points = np.array([point for shape in shapes for point in shape.points])
        assert np.hypot(*points.T).max() < 2
        assert np.hypot(*points.T).max() > 0.9


def test_every_kind_has_its_own_silhouette():
    shapes = {
        kind: np.asarray(sprite.living(kind, 0, 0, 40, "dark").getchannel("A")) > 200
        for kind in glyph.GLYPHS
    }
    for one, other in itertools.combinations(shapes, 2):
        least = min(shapes[one].shape[0], shapes[other].shape[0]) // 2
        crops = []
        for kind in (one, other):
            middle = shapes[kind].shape[0] // 2
            crops.append(
                shapes[kind][middle - least : middle + least, middle - least : middle + least]
            )
        overlap = (crops[0] & crops[1]).sum() / (crops[0] | crops[1]).sum()
        assert overlap < 0.85, (one, other)


@pytest.mark.parametrize("colours", [palette.DARK, palette.LIGHT])
@pytest.mark.parametrize(
    "sight",
    [
        np.eye(3),
        # Red-blind and green-blind sight, as linear maps of RGB.
        np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
        np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    ],
    ids=["full", "red-blind", "green-blind"],
)
def test_the_teams_differ_for_every_eye(colours, sight):
    blue, orange = (sight @ np.array(team.body) for team in colours.teams)
    assert np.linalg.norm(blue - orange) > 100


@pytest.mark.parametrize("unit", [0, 12])
def test_a_unit_is_drawn_where_it_stands(unit):
    seen = still_scene("MMM2")
    away = seen.x.copy()
    away[unit] = -50
    difference = changed(drawn(seen), drawn(dataclasses.replace(seen, x=away)))
    rows, columns = np.nonzero(difference)
    view = seen.stage.view
    scale = SIZE / (view.east - view.west)
    strip = difference.shape[0] - round((view.north - view.south) * scale)
    assert np.median(columns) == pytest.approx((seen.x[unit] - view.west) * scale, abs=0.6 * scale)
    at = strip + (view.north - seen.y[unit]) * scale
    assert np.median(rows) == pytest.approx(at, abs=0.6 * scale)


def count(shown, colour):
    return int((np.abs(np.asarray(shown, np.int64) - colour).max(axis=2) < 12).sum())


@pytest.mark.parametrize(
    ("row", "colour", "map_name"),
    [("health", "health", "3m"), ("shield", "shield", "3s_vs_3z"), ("energy", "energy", "MMM")],
)
def test_bars_grow_with_the_points(row, colour, map_name):
    seen = still_scene(map_name)
    most = {
        "health": [unit.health for unit in seen.stage.units],
        "shield": [unit.shield for unit in seen.stage.units],
        "energy": [unit.energy_max for unit in seen.stage.units],
    }[row]
    counts = []
    for share in (0.1, 0.5, 0.9):
        points = np.array(most, np.float32) * np.float32(share)
        shown = picture.draw(dataclasses.replace(seen, **{row: points}), size=1200)
        counts.append(count(shown, getattr(palette.DARK, colour)))
    assert 0 < counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize(
    ("map_name", "happening"),
    [
        ("MMM2", {"strikes": (Strike(3, 14, 0),)}),
        ("MMM2", {"strikes": (Strike(0, 14, 0),)}),
        ("2s3z", {"strikes": (Strike(3, 8, 1),)}),
        ("2s3z", {"missiles": (Missile(0, 6, 16.0, 15.0, 0.5),)}),
        ("1c3s5z", {"beams": (Beam(0, 15.0, 14.0, 16.0, 16.0, 3),)}),
        ("MMM2", {"heals": (Heal(9, 2),)}),
        ("bane_vs_bane", {"bursts": (Burst(0, 16.0, 16.0, 2.2, 2),)}),
    ],
)
def test_everything_that_happens_can_be_seen_and_fades(map_name, happening):
    seen = still_scene(map_name)
    quiet, busy = drawn(seen), drawn(dataclasses.replace(seen, **happening))
    assert changed(quiet, busy).sum() > 10
    ((name, events),) = happening.items()
    ages = {
        "strikes": effect.STRIKE_LOOPS,
        "beams": effect.BEAM_LOOPS,
        "bursts": effect.BURST_LOOPS,
    }
    if name in ages:
        last = tuple(event._replace(age=ages[name] - 1) for event in events)
        faded = drawn(dataclasses.replace(seen, **{name: last}))
        assert changed(faded, busy).any()


def test_the_dead_fade():
    seen = still_scene("8m")
    alive = seen.alive.copy()
    alive[3] = False
    ages = np.zeros_like(seen.dead_loops)
    fresh = dataclasses.replace(seen, alive=alive, dead_loops=ages)
    ages = ages.copy()
    ages[3] = effect.CORPSE_LOOPS
    old = dataclasses.replace(fresh, dead_loops=ages)
    gone = dataclasses.replace(fresh, x=np.where(alive, seen.x, -50).astype(np.float32))
    background = np.asarray(drawn(gone), np.int64)
    strength = [np.abs(np.asarray(drawn(one), np.int64) - background).sum() for one in (fresh, old)]
    assert strength[0] > 2 * strength[1] > 0


def test_the_caption_tells_step_return_and_outcome():
    seen = still_scene("3m")
    strip = slice(0, 20)
    plain = drawn(seen)[strip]
    for other in ({"loop": 88}, {"episode_return": 7.0}, {"outcome": "won"}):
        assert changed(plain, drawn(dataclasses.replace(seen, **other))[strip]).any()


def inside(curves, x, y):
    """Even-odd rule."""
    crossings = 0
    for curve in curves:
        for (x0, y0), (x1, y1) in zip(curve, curve[1:] + curve[:1], strict=True):
            if (y0 > y) != (y1 > y):
                crossings += x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return crossings % 2 == 1


@given(arrays.arrays(np.bool_, (6, 6)))
@settings(max_examples=60)
def test_outlines_hold_the_middle_of_every_ground_cell_and_of_no_cliff(walkable):
    curves = ground.outlines(walkable)
    for x, y in np.ndindex(walkable.shape):
        assert inside(curves, x + 0.5, y + 0.5) == walkable[x, y]


@given(st.floats(0, 16))
@settings(max_examples=30)
def test_between_two_loops_units_are_on_their_way(at):
    course = still_course("3m")
    start = course.loops[0, field.TRACE_X, 0]
    assert course.scene(at).x[0] == pytest.approx(start + 0.125 * at, abs=1e-4)


def test_a_course_has_no_other_loops():
    with pytest.raises(ValueError, match="the battle has the loops 0 to 16, not 17"):
        still_course("3m").scene(17)


@given(st.floats(0.1, 16), st.floats(1, 60))
@settings(max_examples=60)
def test_films_show_the_whole_battle_at_the_speed_asked_for(speed, rate):
    course = still_course("3m")
    times = film.loop_times(course, speed, rate)
    assert times[0] in (0, course.num_loops)
    assert times[-1] == course.num_loops
    assert times == sorted(times)
    moving = sum(at < course.num_loops for at in times)
    assert moving / rate == pytest.approx(course.num_loops / 22.4 / speed, abs=1 / rate + 1e-9)


def test_a_gif_plays_the_battle(tmp_path):
    course = still_course("2s3z", num_loops=24)
    frames = film.make(course, tmp_path / "battle.gif", size=320, frames_per_second=25)
    with Image.open(tmp_path / "battle.gif") as opened:
        assert opened.size[0] == 320
        assert opened.info["loop"] == 0
        length = 0
        for index in range(opened.n_frames):
            opened.seek(index)
            length += opened.info["duration"]
        last = np.asarray(opened.convert("RGB"))
    assert length == pytest.approx(frames * 40)
    wanted = picture.draw(course.scene(course.num_loops), size=320)
    assert np.abs(last.astype(int) - wanted.astype(int)).mean() < 3


def test_an_mp4_plays_the_battle(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = film.make(still_course("2s3z"), tmp_path / "battle.mp4", size=322)
    counted, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "battle.mp4"))
    assert counted == frames
    assert seconds == pytest.approx(frames / 30, abs=0.05)


@pytest.mark.parametrize(
    ("name", "choices", "sentence"),
    [
        ("battle.avi", {}, "battle.avi must end in .gif or .mp4"),
        ("battle.gif", {"speed": 0.0}, "speed must be positive, not 0.0"),
        ("battle.gif", {"frames_per_second": 51}, "between 0 and 50 for .gif, not 51"),
    ],
)
def test_films_that_cannot_be_are_refused(tmp_path, name, choices, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        film.make(still_course("3m"), tmp_path / name, **choices)
    assert not list(tmp_path.iterdir())


def packed(text):
    found = re.search(r'<script id="data" type="text/plain">([A-Za-z0-9+/=]+)</script>', text)
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def test_a_page_holds_the_battle():
    course = still_course("MMM2")
    course.loops[3, field.TRACE_STRIKE, 2] = 14
    course.loops[5:, field.TRACE_FLIGHT, 0] = 11
    course.loops[5:, field.TRACE_LEFT, 0] = 2.25
    course.loops[7, field.TRACE_HEALING, 9] = 4
    course.loops[9:, field.TRACE_ALIVE, 5] = 0
    course.loops[9:, field.TRACE_HEALTH, 5] = 0
    data = packed(page.make(course, speed=2, theme="light"))
    for name, row in (("x", 0), ("y", 1), ("health", 2), ("energy", 4)):
        held = data["series"][name]
        values = np.cumsum(held["rows"], axis=1).T * held["unit"]
        np.testing.assert_allclose(values, course.loops[:, row], atol=held["unit"])
    health = np.cumsum(data["series"]["health"]["rows"], axis=1).T
    np.testing.assert_array_equal(health > 0, course.loops[:, field.TRACE_ALIVE] > 0)
    assert data["strikes"] == [[3, 2, 14]]
    assert data["flights"][0] == [5, 0, 11, 225]
    assert data["heals"] == [[7, 9, 4]]
    assert (data["speed"], data["theme"], data["loops"]) == (2, "light", 16)


def test_a_page_needs_nothing_but_itself():
    text = page.make(still_course("3m"))
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|src=|<link|@import|fetch\(|XMLHttpRequest", text)
    assert "@DATA@" not in text
    assert "@TITLE@" not in text
