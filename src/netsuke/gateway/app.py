"""The HTTP gateway: health, metadata and inference of the Open Inference Protocol, for who has the token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from netsuke import __version__
from netsuke.core.errors import NetsukeError
from netsuke.gateway.calls import Calls
from netsuke.gateway.tensors import LENGTH, MOST, described, fitting, read, write
from netsuke.links.served import Serving
from netsuke.wire.keys import check_private, write_private
from netsuke.wire.message import WireError

PATIENCE = 30.0
VERSION = 12
"""Characters of a network's SHA-256 that its version is called by."""
PUBLIC = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What is answered without the token, for whoever looks whether it is there: it says nothing else."""


def token_of(path: Path) -> str:
    """The token in the file, which is made where there is none. Raises NetsukeError where others may read it."""
    if not path.exists():
        write_private(path, token_urlsafe(32) + "\n")
    check_private(path)
    return path.read_text(encoding="ascii").strip()


def app(served: Mapping[str, Serving], token: str) -> FastAPI:
    """The application. served: by name."""
    calls: dict[str, Calls] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        calls.update({name: Calls(what) for name, what in served.items()})
        yield
        for one in calls.values():
            one.close()

    made = FastAPI(
        title="netsuke", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    made.middleware("http")(_guard(token))
    made.add_exception_handler(NetsukeError, _mistaken)
    _add_health(made)
    _add_models(made, served, calls)
    return made


def _guard(token: str) -> Callable[..., Awaitable[Response]]:
    async def guard(request: Request, onward: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path not in PUBLIC:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return JSONResponse({"error": "needs the token: Authorization: Bearer …"}, 401)
            length = request.headers.get("content-length", "0")
            if not length.isdigit() or int(length) > MOST:
                return JSONResponse({"error": f"a body of more than {MOST} bytes"}, 413)
        return await onward(request)

    return guard


async def _mistaken(_: Request, error: Exception) -> Response:
    """What the caller can mend is 400; what went wrong behind the gateway 503."""
    return JSONResponse({"error": str(error)}, 503 if isinstance(error, WireError) else 400)


def _add_health(made: FastAPI) -> None:
    @made.get("/v2/health/live")
    def live() -> dict[str, bool]:
        return {"live": True}

    @made.get("/v2/health/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @made.get("/v2")
    def server() -> dict[str, Any]:
        return {"name": "netsuke", "version": __version__, "extensions": ["binary_tensor_data"]}


def _add_models(made: FastAPI, served: Mapping[str, Serving], calls: Mapping[str, Calls]) -> None:
    def known(name: str, version: str) -> Serving:
        """What is served under a name, of this version or any."""
        if name not in served:
            raise NetsukeError(f"no model {name!r}; there are: {', '.join(sorted(served))}")
        there = served[name].of[:VERSION]
        if version not in ("", there):
            raise NetsukeError(f"{name}: no version {version!r}; there is: {there}")
        return served[name]

    @made.get("/v2/models/{name}")
    @made.get("/v2/models/{name}/versions/{version}")
    def model(name: str, version: str = "") -> dict[str, Any]:
        what = known(name, version)
        return {
            "name": name, "versions": [what.of[:VERSION]], "platform": "onnx_onnxv1",
            "inputs": [described(tensor) for tensor in what.inputs],
            "outputs": [described(tensor) for tensor in what.outputs],
        }  # fmt: skip

    @made.get("/v2/models/{name}/ready")
    @made.get("/v2/models/{name}/versions/{version}/ready")
    def ready(name: str, version: str = "") -> dict[str, Any]:
        return {"name": known(name, version).name, "ready": True}

    @made.post("/v2/models/{name}/infer")
    @made.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(name: str, request: Request, version: str = "") -> Response:
        what, body = known(name, version), await request.body()
        asked = read(body, request.headers.get(LENGTH))
        inputs = [fitting(tensor, asked.inputs) for tensor in what.inputs]
        outputs = await run_in_threadpool(calls[name].run, inputs, PATIENCE)
        names = [tensor.name for tensor in what.outputs]
        head = {"model_name": name, "model_version": what.of[:VERSION]}
        content, length = write(asked, list(zip(names, outputs, strict=True)), head)
        kind = "application/json" if length is None else "application/octet-stream"
        return Response(
            content, media_type=kind, headers={} if length is None else {LENGTH: str(length)}
        )
