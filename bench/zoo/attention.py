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


class Translator(nn.Module):
    """Words, and words of another language so far, to logits of the next."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, said: Tensor) -> Tensor:
        return self.network(input_ids=ids, decoder_input_ids=said, use_cache=False).logits


class Speech(nn.Module):
    """Frames of sound and words so far to logits of the next."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sound: Tensor, ids: Tensor) -> Tensor:
        return self.network(input_features=sound, decoder_input_ids=ids, use_cache=False).logits


class TorchLayers(nn.Module):
    """torch's own encoder and decoder layers; frames of 12 numbers in."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.start = nn.Linear(12, width)
        self.encoder = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(width, 4, 64, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.encoder(self.start(x))
        return self.head(self.decoder(memory[:, :4], memory).mean(1))


class Mixer(nn.Module):
    """Linear layers along the places, then along the features (Tolstikhin et al., 2021)."""

    def __init__(self, places: int = 16, width: int = 32) -> None:
        super().__init__()
        self.start, self.head = nn.Linear(24, width), nn.Linear(width, CLASSES)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.along = nn.Sequential(nn.Linear(places, 40), nn.GELU(), nn.Linear(40, places))
        self.across = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        x = x + self.along(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.across(self.norm2(x))).mean(1))


class Products(nn.Module):
    """Attention in Einstein's notation, with queries and keys normalized a head."""

    def __init__(self, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm_query, self.norm_key = nn.RMSNorm(width // heads), nn.RMSNorm(width // heads)
        self.start, self.out = nn.Linear(12, width), nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        y = self.norm(x)
        q, k, v = (
            layer(y).unflatten(-1, (self.heads, -1)) for layer in (self.query, self.key, self.value)
        )
        scores = torch.einsum("bihd,bjhd->bhij", self.norm_query(q), self.norm_key(k))
        seen = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v)
        return self.head((x + self.out(seen.flatten(2))).mean(1))


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


def _t5() -> Made:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=WORDS, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0,
    )  # fmt: skip
    return Translator(T5ForConditionalGeneration(config)), (_words(), _words(8))


ENTRIES = (
    Entry("torch.nn.Transformer layers", lambda: (TorchLayers(), (torch.randn(2, 9, 12),))),
    Entry("Attention by einsum, QK norm", lambda: (Products(), (torch.randn(2, 9, 12),))),
    Entry("MLP-Mixer", lambda: (Mixer(), (torch.randn(2, 16, 24),))),
    Entry("ViT", _vit),
    Entry("Swin", _swin),
    Entry("BERT", _bert),
    Entry("DistilBERT", _distilbert),
    Entry("GPT-2", _gpt2),
    Entry("Llama style", _llama),
    Entry("Whisper style", _whisper),
    Entry("T5", _t5),
)
