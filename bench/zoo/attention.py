"""Transformers, from the configurations of ``transformers`` with random weights."""

import torch
from torch import Tensor, nn

from bench.zoo._parts import CLASSES, SIDE, Entry, Made, pictures
from bench.zoo.residual import Logits

WORDS, LENGTH = 100, 12


def _words(length: int = LENGTH) -> Tensor:
    return torch.randint(1, WORDS, (2, length))


class Masked(nn.Module):
    """Words and which of them count, as a tokenizer gives them, to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.network(input_ids=ids, attention_mask=mask).logits


class Decoder(nn.Module):
    """Words so far to logits of the next, without a cache."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        return self.network(input_ids=ids, use_cache=False).logits


class Speech(nn.Module):
    """Frames of sound and words so far to logits of the next."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sound: Tensor, ids: Tensor) -> Tensor:
        return self.network(input_features=sound, decoder_input_ids=ids, use_cache=False).logits


def _masked(network: nn.Module) -> Made:
    mask = torch.ones(2, LENGTH, dtype=torch.int64)
    mask[1, LENGTH - 3 :] = 0
    return Masked(network), (_words(), mask)


def _vit() -> Made:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        image_size=SIDE, patch_size=8, num_labels=CLASSES,
    )  # fmt: skip
    return Logits(ViTForImageClassification(config)), (pictures(),)


def _swin() -> Made:
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(
        image_size=SIDE, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4],
        window_size=4, num_labels=CLASSES,
    )  # fmt: skip
    return Logits(SwinForImageClassification(config)), (pictures(),)


def _bert() -> Made:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, num_labels=3,
    )  # fmt: skip
    return _masked(BertForSequenceClassification(config))


def _distilbert() -> Made:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        vocab_size=WORDS, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=32,
        num_labels=3,
    )  # fmt: skip
    return _masked(DistilBertForSequenceClassification(config))


def _gpt2() -> Made:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    return Decoder(GPT2LMHeadModel(config)), (_words(),)


def _llama() -> Made:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=32,
    )  # fmt: skip
    return Decoder(LlamaForCausalLM(config)), (_words(),)


def _whisper() -> Made:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=WORDS, num_mel_bins=8, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
        max_source_positions=16, max_target_positions=16, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return Speech(WhisperForConditionalGeneration(config)), (torch.randn(2, 8, 32), _words(8))


ENTRIES = (
    Entry("ViT", _vit),
    Entry("Swin", _swin),
    Entry("BERT", _bert),
    Entry("DistilBERT", _distilbert),
    Entry("GPT-2", _gpt2),
    Entry("Llama style", _llama),
    Entry("Whisper style", _whisper),
)
