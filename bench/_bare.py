"""A session behind a bare ZeroMQ socket with CURVE, and nothing of Netsuke's on the way: what no call can be quicker than.

    python -m bench._bare MODEL.onnx

Its two lines say where it listens and its public key; it takes one array of float32 in the shape of its first input, and answers with
its first output.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

Array = np.ndarray[Any, np.dtype[np.float32]]


def main(model: str) -> None:
    import gc

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in given.shape]
    socket = zmq.Context[zmq.Socket[bytes]]().socket(zmq.ROUTER)
    public, socket.curve_secretkey = zmq.curve_keypair()
    socket.curve_publickey, socket.curve_server = public, True
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}\n{public.decode()}", flush=True)
    gc.freeze()
    while True:
        peer, asked = socket.recv_multipart()
        x = np.frombuffer(asked, np.float32).reshape(shape)
        socket.send_multipart([peer, session.run(None, {given.name: x})[0].tobytes()])


@contextmanager
def bare(model: Path) -> Iterator[Callable[[Array], bytes]]:
    """Calls one, in a process that is gone at the end."""
    command = [sys.executable, "-m", "bench._bare", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address, theirs = (process.stdout.readline().strip() for _ in range(2))
        context = zmq.Context[zmq.Socket[bytes]]()
        socket = context.socket(zmq.DEALER)
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_serverkey = theirs.encode()
        socket.rcvtimeo = 10_000

        def call(x: Array) -> bytes:
            socket.send(x.tobytes())
            answer: bytes = socket.recv()
            return answer

        try:
            socket.connect(address)
            yield call
        finally:
            context.destroy(linger=0)
            process.kill()


if __name__ == "__main__":
    main(sys.argv[1])
