"""The system's own limit on a process's memory, where this process may set one."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from netsuke.agent.cgroup import Group, group

LIMIT = 60_000_000
GREEDY = "x = bytearray({size}); print(len(x))"


@pytest.fixture
def limited() -> Iterator[Group]:
    found = group("test", LIMIT)
    if found is None:
        pytest.skip("no control group of memory may be made here (root, or Delegate=yes)")
    yield found
    found.close()
    assert not found.folder.exists(), "it is let go of when its processes have ended"


def ran(limited: Group, size: int) -> subprocess.CompletedProcess[str]:
    command = limited.entering([sys.executable, "-c", GREEDY.format(size=size)])
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_stays_below_its_limit_runs(limited: Group) -> None:
    assert ran(limited, 10_000_000).stdout == "10000000\n"
    assert not limited.overrun


def test_what_asks_for_more_is_ended_and_the_group_says_so(limited: Group) -> None:
    done = ran(limited, 200_000_000)
    assert done.returncode != 0
    assert done.stdout == ""
    assert limited.overrun


def test_groups_of_agents_that_are_gone_are_tidied_away(limited: Group) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = limited.folder.with_name(f"netsuke-{gone.pid}-left")
    left.mkdir()
    other = group("other", LIMIT)
    assert other is not None
    other.close()
    assert not left.exists()
    assert limited.folder.exists(), "this one's process is still there"
    assert str(os.getpid()) in limited.folder.name
