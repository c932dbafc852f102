"""A battle as a moving picture: an animated GIF, or an MP4.

GIFs need Pillow (the extra `pictures`), MP4s also the encoder of imageio-ffmpeg (the extra
`video`). Fed by `course`; asked for by `dm2 replay`.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from dm2_dist.envs.skirmish.pictures import palette, picture
from dm2_dist.envs.skirmish.pictures.course import FASTER, MAX_FRAMES_PER_SECOND, Course
from dm2_dist.envs.skirmish.pictures.palette import Theme

_DEFAULT_FRAMES_PER_SECOND = {".gif": 20.0, ".mp4": 30.0}
_END_SECONDS = 1.5
_UNCHANGED = 127  # number of the transparent colour; the colours of a film come before it
_SAMPLES = 6


def make(
    course: Course,
    path: Path,
    *,
    speed: float = 1.0,
    size: int = 640,
    frames_per_second: float | None = None,
    theme: Theme = "dark",
) -> int:
    """Make a film of a battle; the ending of the path decides the format.

    Args:
        course: the battle.
        path: where to, ending in .gif or .mp4.
        speed: 1 plays 22.4 game loops a second, as the game does at "Faster".
        size: width in pixels.
        frames_per_second: pictures a second; 20 in a GIF and 30 in an MP4 unless given.
        theme: the colours.

    Returns:
        How many frames were drawn.

    Raises:
        ValueError: format, speed, size or frames a second are not possible.
        ModuleNotFoundError: the encoder of MP4s is missing.
        OSError: the file cannot be written.
    """
    form = path.suffix.lower()
    if form not in MAX_FRAMES_PER_SECOND:
        raise ValueError(f"{path.name} must end in .gif or .mp4")
    rate = frames_per_second or _DEFAULT_FRAMES_PER_SECOND[form]
    if not 0 < rate <= MAX_FRAMES_PER_SECOND[form]:
        raise ValueError(
            f"frames per second must be between 0 and {MAX_FRAMES_PER_SECOND[form]:.0f} for "
            f"{form}, not {rate}"
        )
    if form == ".gif":
        # The format counts hundredths of a second.
        hundredths = max(round(100 / rate), 2)
        times = loop_times(course, speed, 100 / hundredths)
        _write_gif(course, path, times, size=size, hundredths=hundredths, theme=theme)
    else:
        times = loop_times(course, speed, rate)
        frames = (picture.draw(course.scene(at), size=size, theme=theme) for at in times)
        _write_mp4(frames, path, rate)
    return len(times)


def loop_times(course: Course, speed: float, rate: float) -> list[float]:
    """List which moment of the battle each frame shows, in game loops; the last is the end.

    Args:
        course: the battle.
        speed: 1 plays 22.4 game loops a second.
        rate: frames a second.

    Raises:
        ValueError: the speed is not positive.
    """
    if not (speed > 0 and math.isfinite(speed)):
        raise ValueError(f"speed must be positive, not {speed}")
    stride = FASTER * speed / rate
    times = [k * stride for k in range(math.ceil(course.num_loops / stride))]
    last = float(course.num_loops)
    return times + [last] * max(round(_END_SECONDS * rate), 1)


def _write_gif(
    course: Course, path: Path, times: list[float], *, size: int, hundredths: int, theme: Theme
) -> None:
    """Write frames that share one table of colours; equal frames at the end become a long one."""

    def drawn(at: float) -> npt.NDArray[np.uint8]:
        return picture.draw(course.scene(at), size=size, theme=theme)

    stay = sum(at == times[-1] for at in times)
    moments = times[: len(times) - stay + 1]
    samples = [drawn(moments[k * (len(moments) - 1) // (_SAMPLES - 1)]) for k in range(_SAMPLES)]
    frames = _indexed((drawn(at) for at in moments), _colour_table(samples, theme))
    durations = [10 * hundredths] * (len(moments) - 1) + [10 * hundredths * stay]
    next(frames).save(
        path,
        "GIF",
        save_all=True,
        append_images=frames,
        duration=durations,
        loop=0,
        transparency=_UNCHANGED,
        disposal=1,
        optimize=False,
    )


def _colour_table(samples: list[npt.NDArray[np.uint8]], theme: Theme) -> Image.Image:
    """Choose the colours of a film: those with a meaning, and what else its frames need."""
    fixed = palette.all_colours(palette.by_theme(theme))
    mosaic = Image.fromarray(np.concatenate(samples))
    found = mosaic.quantize(_UNCHANGED - len(fixed), Image.Quantize.MEDIANCUT).getpalette() or []
    table = Image.new("P", (1, 1))
    table.putpalette([*(part for colour in fixed for part in colour), *found][: 3 * _UNCHANGED])
    return table


def _indexed(frames: Iterator[npt.NDArray[np.uint8]], table: Image.Image) -> Iterator[Image.Image]:
    """Turn frames into colour numbers; what has not changed since the last frame is transparent."""
    colours = table.getpalette() or []
    before: npt.NDArray[np.uint8] | None = None
    for frame in frames:
        quantised = Image.fromarray(frame).quantize(palette=table, dither=Image.Dither.NONE)
        numbers = np.asarray(quantised, np.uint8)
        shown = numbers if before is None else np.where(numbers == before, _UNCHANGED, numbers)
        before = numbers
        indexed = Image.frombytes("P", quantised.size, shown.astype(np.uint8).tobytes())
        indexed.putpalette(colours)
        yield indexed


def _write_mp4(frames: Iterator[npt.NDArray[np.uint8]], path: Path, rate: float) -> None:
    """Feed frames to the encoder, a process of its own."""
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "an .mp4 needs imageio-ffmpeg; install dm2-dist with the extra [video], or choose .gif",
            name=error.name,
        ) from None
    first = next(frames)
    raw = f"-f rawvideo -pix_fmt rgb24 -s {first.shape[1]}x{first.shape[0]} -r {rate} -i -"
    coded = "-c:v libx264 -pix_fmt yuv420p -crf 18 -movflags +faststart -f mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *raw.split(), *coded.split()]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(
            [*command, str(path)], stdin=subprocess.PIPE, stderr=complaints, bufsize=0
        ) as encoder:
            assert encoder.stdin is not None
            # An encoder that gives up closes the pipe; why, it says on the other one.
            with contextlib.suppress(BrokenPipeError):
                for frame in itertools.chain([first], frames):
                    encoder.stdin.write(frame.tobytes())
        if encoder.returncode != 0:
            complaints.seek(0)
            told = complaints.read().decode(errors="replace").strip().splitlines()
            raise OSError(told[0] if told else f"the encoder stopped with {encoder.returncode}")
