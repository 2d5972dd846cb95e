"""Real processes, started by torchrun, that train one network together."""

import ast
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from together_main import trained

from netsuke.core.team import Team
from torchrun import torchrun

WORKLOAD = Path(__file__).parents[2] / "workload_tiny.py"
RECIPE = '[[pass]]\nuse = "prune.channels"\ncost = "macs"\nratio = 0.4\nepochs = 2\n'


@pytest.mark.parametrize(("count", "parts"), [(8, [(0, 4), (4, 8)]), (9, [(0, 4), (4, 9)]), (3, [(0, 3), (0, 3)])])  # fmt: skip
def test_everybody_has_a_part_and_none_is_of_one(count: int, parts: list[tuple[int, int]]):
    team = [Team(rank, 2) for rank in range(2)]
    assert [(one.part(count).start, one.part(count).stop) for one in team] == parts
    assert sum(one.share(count) for one in team) == 1


def test_two_processes_train_what_one_does(tmp_path: Path):
    done = torchrun(str(Path(__file__).parent / "together_main.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    alone, notes = trained(Team())
    assert notes == ()
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], expected, atol=1e-5), name
    told = [ast.literal_eval((tmp_path / f"{rank}.txt").read_text()) for rank in range(2)]
    assert told[0]["chance"] != told[1]["chance"]
    assert told[0]["after"] == told[1]["after"]
    for one in told:
        assert one["notes"] == ("2 processes trained it together",)
        assert one["said"] == ["the leader's", 0]
        assert "came to different networks" in one["shapes"]
        assert one["error"] == "no such folder"
        assert one["threads"] == 0


def test_a_fit_by_two_processes_is_one_run(tmp_path: Path):
    recipe, out = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(RECIPE)
    command = ["-m", "netsuke", "fit", str(WORKLOAD), "--recipe", str(recipe), "--drop", "90 pt", "--out", str(out)]  # fmt: skip
    done = torchrun(*command, "--json")
    assert done.returncode == 0, done.stderr
    (step,) = json.loads(done.stdout)["steps"]
    assert step["outcome"] == "kept"
    assert "2 processes trained it together" in step["notes"]
    assert (out / "model.onnx").is_file()
    nowhere = torchrun("-m", "netsuke", "fit", str(tmp_path / "none.py"))
    assert nowhere.stderr.count("netsuke: ") == 1
    assert "Traceback" not in nowhere.stderr.partition("torch/distributed")[0]
    again = torchrun(*command)
    assert again.returncode != 0
    assert again.stderr.count("netsuke: ") == 1
    assert "holds a finished run" in again.stderr
