"""`dm2 replay`: pages and films from recorded battles, and lists of them."""

import subprocess
import sys

import msgspec
import pytest
from PIL import Image

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.replay import Replay, record
from launch import replay


@pytest.fixture(scope="module")
def recorded():
    batch = SkirmishBatch("3m", 1, seed=1)
    batch.reset()
    return record(batch, lambda played: played.alive.astype("int64"), 0)


@pytest.fixture
def saved(recorded, tmp_path):
    return recorded.save(tmp_path / "first.replay.json")


def test_a_page_is_written_beside_the_replay_unless_told_otherwise(saved, capsys):
    assert replay.main([str(saved)]) == 0
    page = saved.with_name("first.html")
    assert page.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith(f"wrote {page}: 3m, ")


@pytest.mark.parametrize(("name", "page"), [("a.replay.json", "a.html"), ("b.json", "b.html")])
def test_the_page_is_named_after_the_replay(tmp_path, name, page):
    assert replay.default_output(tmp_path / name) == tmp_path / page


def test_the_ending_decides_the_format(saved, capsys):
    output = saved.with_name("battle.GIF")
    words = ["--output", str(output), "--size", "200", "--frames-per-second", "5", "--speed", "2"]
    assert replay.main([str(saved), *words]) == 0
    with Image.open(output) as opened:
        assert (opened.format, opened.size[0]) == ("GIF", 200)
        assert opened.n_frames > 3
    assert "lost" in capsys.readouterr().out


def test_an_mp4_is_written(saved):
    pytest.importorskip("imageio_ffmpeg")
    output = saved.with_name("battle.mp4")
    assert replay.main([str(saved), "--output", str(output), "--size", "160"]) == 0
    assert output.read_bytes()[4:8] == b"ftyp"


def test_a_folder_is_listed_with_what_is_wrong_in_it(recorded, saved, capsys):
    below = saved.parent / "below"
    below.mkdir()
    recorded.save(below / "second.replay.json")
    (below / "third.replay.json").write_text("{}")
    (below / "[red]fourth.replay.json").write_text("[/bold]")
    (below / "notes.txt").write_text("no replay")
    assert replay.main([str(saved.parent)]) == 0
    told = capsys.readouterr().out
    names = ("first.replay.json", "below/second", "below/third", "below/[red]fourth")
    for word in (*names, "3m", "lost", "not a replay"):
        assert word in told
    assert "notes" not in told


def test_a_folder_without_replays_is_an_error(tmp_path, capsys):
    assert replay.main([str(tmp_path)]) == 1
    assert (
        "holds no replays, whose names end in .replay.json; make some with"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--speed 0", "speed is 0.0; it must be positive"),
        ("--speed inf", "speed is inf; it must be positive"),
        ("--size 10", "size is 10; a film is 160 to 4096 pixels wide"),
        ("--frames-per-second 0", "frames-per-second is 0.0; it must be between 0 and 120"),
        ("--output a.avi", "a.avi must end in .html, .gif or .mp4"),
        (
            "--output a.gif --frames-per-second 60",
            "frames-per-second is 60.0; it must be between 0 and 50",
        ),
    ],
)
def test_wrong_arguments_give_a_sentence_and_code_2(saved, capsys, words, sentence):
    assert replay.main([str(saved), *words.split()]) == 2
    assert capsys.readouterr().err == f"dm2: {sentence}\n"


def test_a_folder_cannot_become_a_film(tmp_path, capsys):
    assert replay.main([str(tmp_path), "--output", "a.gif"]) == 2
    assert "is a folder; name one replay in it" in capsys.readouterr().err


def test_a_missing_replay_is_an_error(tmp_path, capsys):
    assert replay.main([str(tmp_path / "none.replay.json")]) == 1
    assert capsys.readouterr().err.endswith("none.replay.json does not exist\n")


@pytest.mark.parametrize("ending", ["html", "gif", "mp4"])
def test_a_place_that_cannot_be_written_is_an_error(saved, capsys, ending):
    output = saved.parent / "nowhere" / f"a.{ending}"
    assert replay.main([str(saved), "--output", str(output), "--size", "160"]) == 1
    assert capsys.readouterr().err.startswith(f"dm2: {output} cannot be written: ")


def test_a_battle_that_comes_out_otherwise_is_an_error(recorded, tmp_path, capsys):
    outcome = msgspec.structs.replace(recorded.document.outcome, episode_return=-3.0)
    spoilt = Replay(msgspec.structs.replace(recorded.document, outcome=outcome))
    path = spoilt.save(tmp_path / "spoilt.replay.json")
    assert replay.main([str(path)]) == 1
    assert "does not play as recorded" in capsys.readouterr().err
    assert not (tmp_path / "spoilt.html").exists()


@pytest.mark.parametrize(
    ("missing", "output", "code", "sentence"),
    [
        ("PIL", "a.html", 0, ""),
        ("PIL", "a.gif", 1, "a film needs Pillow; install dm2-dist with the extra [pictures]"),
        ("imageio_ffmpeg", "a.mp4", 1, "install dm2-dist with the extra [video], or choose .gif"),
    ],
)
def test_only_films_need_further_packages(saved, missing, output, code, sentence):
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from launch import replay\n"
        "sys.exit(replay.main(sys.argv[1:]))"
    )
    words = [str(saved), "--output", str(saved.with_name(output))]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert saved.with_name(output).exists() == (code == 0)
