"""A process's memory, by the system's own count."""

import os
import subprocess
import sys

import psutil
import pytest

from netsuke.agent.resident import resident


def test_it_is_what_psutil_says() -> None:
    here = os.getpid()
    assert resident(here) == pytest.approx(psutil.Process(here).memory_info().rss, rel=0.05)


def test_a_process_that_is_gone_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProcessLookupError):
        resident(gone.pid)
