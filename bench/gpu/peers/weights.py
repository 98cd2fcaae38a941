"""The random weights of Engine.random (native/model/random_weights.cpp) for a Hugging Face model: every value is a
hash of (seed, the tensor's name, index), so both programs have the same model without a file between them.
"""
import math

import torch

ARCHITECTURES = {  # layers, hidden, heads, feed-forward, vocabulary, norm before each block
    "xlm-r-base": (12, 768, 12, 3072, 250002, False),
    "xlm-r-large": (24, 1024, 16, 4096, 250002, False),
    "xlm-r-xl": (36, 2560, 32, 10240, 250880, True),
    # for rehearsals, jobs.mjs has the same
    "tiny-post": (2, 128, 2, 256, 1000, False),
    "tiny-pre": (2, 160, 2, 320, 1000, True),
}
MASK = (1 << 64) - 1


def _mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def _signed(x):
    return x - (1 << 64) if x >= 1 << 63 else x


def _shifted(x, bits):
    """A logical shift to the right of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _uniform(stream, first, count, device):
    """Elements first ... first + count - 1 in [-1, 1), float32, as the native code has them."""
    x = torch.arange(first, first + count, dtype=torch.int64, device=device) + _signed(stream)
    x += _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    x ^= _shifted(x, 31)
    return (_shifted(x, 40) - (1 << 23)).to(torch.float32) * 2.0**-23


def fill(name, tensor, seed):
    """`tensor` (float32) in place. Matrices are rounded to bfloat16, vectors and positions are not."""
    if name == "roberta.embeddings.token_type_embeddings.weight":
        tensor.zero_()
        return
    if "LayerNorm" in name or "layer_norm" in name:
        tensor.fill_(1.0 if name.endswith(".weight") else 0.0)
        return
    stream = _mix(seed)
    for character in name.encode():
        stream = _mix(stream ^ character)
    scale = 0.02 if tensor.dim() == 1 else math.sqrt(3.0 / tensor.shape[-1])
    scale = torch.tensor(scale, dtype=torch.float32, device=tensor.device)
    flat, piece = tensor.view(-1), 1 << 26
    for first in range(0, flat.numel(), piece):
        count = min(piece, flat.numel() - first)
        values = _uniform(stream, first, count, tensor.device) * scale
        if tensor.dim() == 2 and "position_embeddings" not in name:
            values = values.to(torch.bfloat16).float()
        flat[first : first + count] = values


def model_of(architecture, device, seed=0):
    """Hugging Face's masked language model with these weights, in float32."""
    from transformers import (
        XLMRobertaConfig,
        XLMRobertaForMaskedLM,
        XLMRobertaXLConfig,
        XLMRobertaXLForMaskedLM,
    )

    layers, hidden, heads, feed_forward, vocabulary, pre = ARCHITECTURES[architecture]
    config = (XLMRobertaXLConfig if pre else XLMRobertaConfig)(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        vocab_size=vocabulary,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    config._attn_implementation = "sdpa"
    with torch.device(device):
        model = (XLMRobertaXLForMaskedLM if pre else XLMRobertaForMaskedLM)(config).eval()
    # Shared tensors go by either name.
    names = {
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fill(names.get(name, name), parameter, seed)
    return model, layers, pre, vocabulary
