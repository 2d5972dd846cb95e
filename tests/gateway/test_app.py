"""The gateway in front of real agents: a real server, and a client of others' making."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from tests.conftest import Said

from netsuke.core.artifact import Artifact
from netsuke.core.errors import NetsukeError
from netsuke.core.kernels import Kernel
from netsuke.gateway.app import app, token_of
from netsuke.links.served import Serving
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.serving import Spread, serve
from netsuke.testing.agents import Running, paired, until

TOKEN = "correct-horse"
X = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype(np.float32)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    content = OnnxRuntime().kernel_file(Kernel(8, 8, (3, 3), 8))
    assert content is not None
    (tmp_path / "kernel.onnx").write_bytes(content)
    return OnnxRuntime().adopt(tmp_path / "kernel.onnx")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    with paired(tmp_path, "pi1") as running:
        yield running


@pytest.fixture
def served(agent: Running, artifact: Artifact) -> Serving:
    return serve(artifact, OnnxRuntime(), ["pi1"], Spread(name="k"))


@pytest.fixture
def port(served: Serving) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(app({"k": served}, TOKEN), port=number, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield number
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(port: int) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=40) as made:
        yield made


def request(**other: object) -> dict[str, object]:
    return {
        "inputs": [
            {
                "name": "x",
                "shape": list(X.shape),
                "datatype": "FP32",
                "data": X.ravel().tolist(),
                **other,
            }
        ]
    }


def test_it_answers_what_the_network_answers(client: httpx.Client, artifact: Artifact) -> None:
    model = client.get("/v2/models/k").json()
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 8, 8, 8]}]
    assert client.get(f"/v2/models/k/versions/{model['versions'][0]}/ready").json()["ready"]
    other = client.post("/v2/models/k/versions/2/infer", json=request())
    assert (other.status_code, "no version '2'" in other.json()["error"]) == (400, True)
    wanted = OnnxRuntime().open(artifact).run((X,))[0]
    answer = client.post("/v2/models/k/infer", json={**request(), "id": "42"}).json()
    assert answer["id"] == "42"
    found = answer["outputs"][0]
    assert np.allclose(np.array(found["data"], np.float32).reshape(found["shape"]), wanted)


def test_many_at_once_each_get_their_own(client: httpx.Client, artifact: Artifact) -> None:
    session = OnnxRuntime().open(artifact)
    inputs = [X + number for number in range(40)]

    def ask(x: np.ndarray) -> np.ndarray:
        answer = client.post("/v2/models/k/infer", json=request(data=x.ravel().tolist())).json()
        return np.array(answer["outputs"][0]["data"], np.float32)

    with ThreadPoolExecutor(8) as pool:
        for given, x in zip(pool.map(ask, inputs), inputs, strict=True):
            assert np.allclose(given, session.run((x,))[0].ravel(), rtol=1e-4, atol=1e-5)


def test_a_client_that_exists_works(port: int, artifact: Artifact) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    asked = triton.InferInput("x", list(X.shape), "FP32")
    asked.set_data_from_numpy(X)
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert client.is_server_live()
        assert client.is_model_ready("k", headers=headers)
        found = client.infer("k", [asked], headers=headers)
    output = found.get_response()["outputs"][0]["name"]
    assert np.allclose(found.as_numpy(output), OnnxRuntime().open(artifact).run((X,))[0])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", TOKEN])
def test_without_the_token_nothing_is_told(port: int, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        assert client.get("/v2/health/live").status_code == 200
        for path in ("/v2", "/v2/models/k", "/v2/models/none", "/openapi.json"):
            assert client.get(path).status_code == 401, path
        assert client.post("/v2/models/k/infer", json=request()).status_code == 401


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nonsense", "no inference request"),
        ({"inputs": []}, "'x' is missing"),
        (request(name="y"), "'x' is missing; there are y"),
        (request(shape=[2, 4, 8, 8]), "the model takes FP32 [-1, 8, 8, 8]"),
        (request(datatype="FP64"), "is FP64"),
    ],
)
def test_what_cannot_be_asked_is_said(client: httpx.Client, content: object, said: str) -> None:
    how = {"content": content} if isinstance(content, bytes) else {"json": content}
    answer = client.post("/v2/models/k/infer", **how)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text


def test_a_model_that_is_not_served_is_named(client: httpx.Client) -> None:
    answer = client.get("/v2/models/other")
    assert (answer.status_code, answer.json()["error"]) == (400, "no model 'other'; there are: k")


def test_what_goes_wrong_behind_it_is_said(
    agent: Running, client: httpx.Client, monkeypatch
) -> None:
    monkeypatch.setattr("netsuke.gateway.app.PATIENCE", 1.0)
    agent.kill()
    start = time.monotonic()
    answer = client.post("/v2/models/k/infer", json=request())
    assert answer.status_code == 503
    assert "pi1: k.0-1-of-1: did not answer in time" in answer.json()["error"]
    assert time.monotonic() - start < 5


def test_the_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.token"
    assert token_of(path) == token_of(path)
    assert len(token_of(path)) > 30
    path.chmod(0o644)
    with pytest.raises(NetsukeError, match="others may read it"):
        token_of(path)


def test_a_name_that_is_not_served(netsuke: Callable[..., Said]) -> None:
    said = netsuke("gateway", "nothing")
    assert (said.code, "nothing is served under this name" in said.err) == (2, True)
