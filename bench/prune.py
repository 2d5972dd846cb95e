"""Pruning and the packer: models that are really smaller and really faster.

Accuracies are on all test samples, gaps with the 95 % interval over the same samples, against a dense
control of equal training where something is retrained. Times are process CPU times of onnxruntime,
batch 1, one thread, interleaved, against the faster of Netsuke's own FP32 export and torch.onnx's in the
same run.
"""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """LeNet-300-100 and LeNet-5 pruned, clustered and packed."""
    from bench._lenet import lenets

    return lenets(bench)


def figure_2(bench: Bench) -> Figure:
    """ResNet-56 with 1/2.57 of its MACs."""
    from bench._carved import narrower

    return narrower(bench)


def figure_3(bench: Bench) -> Figure:
    """ResNet-20 against Torch-Pruning and ModelOpt FastNAS, as fast and at equal MACs."""
    from bench._equal import equal

    return equal(bench)


def figure_4(bench: Bench) -> Figure:
    """ResNet-56 with 90 and 95 % of its weights gone, and half of them without training."""
    from bench._sparse import unstructured

    return unstructured(bench)


def figure_5(bench: Bench) -> Figure:
    """Pruned, quantized and packed: ResNet-20 and ResNet-56."""
    from bench._carved import combined

    return combined(bench)


def figure_6(bench: Bench) -> Figure:
    """MiniLM-L6 with half of its heads and feed-forward width."""
    from bench._heads import heads

    return heads(bench)


def figure_7(bench: Bench) -> Figure:
    """Predicted against measured time of random prunings."""
    from bench._latency_table import latency

    return latency(bench)


def figure_8(bench: Bench) -> Figure:
    """The stored form at the entropy of its weights, and how fast it is made and read."""
    from bench._packer import packer

    return packer(bench)


def figure_10(bench: Bench) -> Figure:
    """Channel groups on a zoo of architectures."""
    from bench.zoo.figure import zoo

    return zoo(bench)
