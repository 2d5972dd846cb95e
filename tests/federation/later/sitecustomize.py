"""On the path of a process its clock goes wrong by LATER seconds."""

import os
import time

_now, _off = time.time, float(os.environ["LATER"])
time.time = lambda: _now() + _off
