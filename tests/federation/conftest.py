import pytest


@pytest.fixture(autouse=True)
def _of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of Flower's belong to a run."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
