"""Text: a small transformer over tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    """Attention and a feed-forward part, each normalised first, each with a shortcut."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        x = x + self._attended(self.norm1(x), there)
        y: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return y

    def _attended(self, x: Tensor, there: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            part(x).view(batch, length, self.heads, self.each).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, there[:, None, None]).transpose(1, 2)
        y: Tensor = self.out(mixed.reshape(batch, length, self.heads * self.each))
        return y


class Transformer(nn.Module):
    """Input (batch, length) of token numbers, 0 where there is none; output (batch, classes): an encoder after
    Vaswani et al., 2017, with norms first, its tokens averaged."""

    def __init__(
        self,
        vocabulary: int,
        classes: int,
        length: int = 64,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.ModuleList(Layer(width, heads, 2 * width) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        there = tokens != 0
        x = self.tokens(tokens) + self.places
        for layer in self.layers:
            x = layer(x, there)
        counted = there.unsqueeze(2).to(x.dtype)
        y: Tensor = self.head(self.norm((x * counted).sum(1) / counted.sum(1).clamp(min=1)))
        return y
