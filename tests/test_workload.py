"""Workload and goal files: what is read, and what is said of one that is wrong."""

from pathlib import Path

import pytest

from netsuke.core.errors import NetsukeError
from netsuke.workload import read_workload

TINY = Path(__file__).parent / "workload_tiny.py"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf8")
    return path


def test_a_workload_gives_model_and_task() -> None:
    workload = read_workload(TINY)
    assert workload.name == "workload_tiny"
    assert workload.task.metric == "accuracy"
    assert (
        sum(p.numel() for p in workload.model.parameters()) == 16 * 9 + 32 + 32 * 16 * 9 + 64 + 66
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def model(): ...", "has no function task()"),
        ("def task(): ...", "has no function model()"),
        ("import netsuke\ndef model(): ...\ndef task(): return 3", "task() returned int"),
        ("def model():\n    return 1 / 0\ndef task(): ...", "task() returned NoneType"),
        ("x = (", "line 1: SyntaxError"),
        ("\nimport not_there", "line 2: ModuleNotFoundError"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "mine.py", text)
    with pytest.raises(NetsukeError, match="mine.py") as error:
        read_workload(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_fails_names_the_users_line(tmp_path: Path) -> None:
    text = "import netsuke\ndef task(): return netsuke.Task()\ndef model():\n    return 1 / 0\n"
    with pytest.raises(NetsukeError, match=r"mine.py: model\(\) failed: line 4: ZeroDivisionError"):
        read_workload(write(tmp_path, "mine.py", text))


def test_a_goal_file_names_its_workload_and_limits(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", TINY.read_text(encoding="utf8"))
    goal = write(
        tmp_path, "goal.toml", 'workload = "mine.py"\ndevice = "pi4"\n[budget]\nsize = "20 KB"\n'
    )
    workload = read_workload(goal)
    assert (workload.name, workload.device, workload.budget.limits()) == (
        "goal",
        "pi4",
        {"size": 2e4},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("device = 'pi4'", 'needs workload = "FILE.py"'),
        ("workload = 'mine.py'\nlimit = 3", "unknown field limit"),
        ("workload = 'mine.py'\n[budget]\nsise = '1 KB'", "unknown field budget.sise"),
        ("workload = ", "not valid TOML"),
    ],
)
def test_a_wrong_goal_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(NetsukeError, match=r"goal\.toml") as error:
        read_workload(write(tmp_path, "goal.toml", text))
    assert said in str(error.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match="is a .py file"):
        read_workload(tmp_path / "net.pt")
