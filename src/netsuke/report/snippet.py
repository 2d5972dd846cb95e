"""Five lines of Python that run an artifact."""

from netsuke.core.artifact import Artifact


def snippet(artifact: Artifact) -> str:
    """Code that runs the artifact on an input of zeros, to be replaced; empty for a runtime that has
    no Python package of its own. Names are written as Python literals, so none can break out."""
    if artifact.runtime != "onnxruntime":
        return ""
    feeds = ", ".join(
        f"{name!r}: np.zeros({(1, *shape)}, {dtype!r})" for name, dtype, shape in artifact.inputs
    )
    return "\n".join(
        (
            "import numpy as np",
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({artifact.path.name!r})",
            f"inputs = {{{feeds}}}  # your data here",
            "print(session.run(None, inputs)[0])",
        )
    )
