"""onnxruntime takes SLOWER times as long: a slow device on a fast machine.

Whatever a call took is spent again and again doing nothing, so seconds of the processor and of the clock both grow.
"""

import os
import time


def slow(module):
    """module: onnxruntime."""
    times, session = float(os.environ["SLOWER"]), module.InferenceSession
    run = session.run

    def slowly(self, *args, **kwargs):
        start = time.perf_counter()
        found = run(self, *args, **kwargs)
        end = start + times * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return found

    session.run = slowly
