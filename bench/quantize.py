"""Quantization: every width, and only where it pays. The shared ResNet-20 unless said.

All accuracies are on the 10,000 test images (1,821 sentences for MiniLM), gaps with the 95 % interval
over the same samples; calibration is on the same 500 samples for every tool. Times are process CPU
times of onnxruntime, batch 1, one thread, interleaved, against the faster of Netsuke's own FP32
export and torch.onnx's in the same run.
"""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """W8A8 after training, against the best and the fastest of the rivals."""
    from bench._posttraining import eight_bits

    return eight_bits(bench)


def figure_2(bench: Bench) -> Figure:
    """W4A8 after training, every layer, against AIMET's AdaRound and Brevitas' GPTQ."""
    from bench._posttraining import four_bits

    return four_bits(bench)


def figure_3(bench: Bench) -> Figure:
    """W4A4, W2A8 and W3A3 by training, against an FP32 network trained as long."""
    from bench._trained import low_bits

    return low_bits(bench)


def figure_4(bench: Bench) -> Figure:
    """Three bits a weight on average, against three bits everywhere."""
    from bench._mixed import three_bits

    return three_bits(bench)


def figure_5(bench: Bench) -> Figure:
    """One nested network against a network trained for each width."""
    from bench._trained import nested

    return nested(bench)


def figure_6(bench: Bench) -> Figure:
    """A depthwise network, and the same function from unbalanced channels."""
    from bench._depthwise import depthwise

    return depthwise(bench)


def figure_7(bench: Bench) -> Figure:
    """MiniLM-L6 on SST-2: static, dynamic, and INT4 weights."""
    from bench._transformer import transformer

    return transformer(bench)


def figure_8(bench: Bench) -> Figure:
    """Memory and time of quantizing MiniLM."""
    from bench._memory import memory

    return memory(bench)


def figure_9(bench: Bench) -> Figure:
    """ResNet-18 and MobileNetV2 at 224×224."""
    from bench._headline import headline

    return headline(bench)
