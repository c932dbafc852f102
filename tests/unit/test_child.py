"""What a process says of a file that it cannot use, and of a log that it cannot write."""

import errno
import os
import subprocess
import sys

import pytest

from dm2_dist import child

BEGIN = """
import logging, resource, signal, sys
from pathlib import Path
from dm2_dist import child
logger = child.begin("learner-7", Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (Path(sys.argv[1]) / "learner-7.log").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
for _ in range(3):
    logger.info("lost")
"""


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "mount it writable"),
        (errno.ENOENT, "bring the run directory back"),
        (errno.EIO, "the device fails"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_a_file_a_reason_and_a_mend_are_named(tmp_path, number, mend):
    path = str(tmp_path / "file")
    sentence = child.explain(OSError(number, os.strerror(number), path))
    assert sentence.startswith(f"{path} cannot be used: {os.strerror(number)}; ")
    assert mend in sentence


def test_other_errors_are_named_without_a_mend():
    assert child.explain(OSError(errno.ELOOP, "Loop", "/x")) == "/x cannot be used: Loop"
    assert child.explain(OSError("strange")) == "strange"


def test_errors_of_a_descriptor_get_the_name_of_the_file(tmp_path):
    with pytest.raises(OSError, match="full") as error, child.named(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "full")
    assert error.value.filename == str(tmp_path / "file")


def begin(folder, program=BEGIN):
    return subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )


def test_a_log_that_cannot_grow_is_said_once_and_stops_nothing(tmp_path):
    done = begin(tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("File too large; raise the limit on the size of files") == 1
    assert "learner-7.log" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_folder_for_the_log_the_process_leaves_with_a_sentence(tmp_path):
    done = begin(tmp_path / "missing")
    assert done.returncode == child.HOPELESS
    assert "No such file or directory; bring the run directory back" in done.stderr
    assert "Traceback" not in done.stderr
