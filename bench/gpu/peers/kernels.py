"""kernels.py measure|linear|attention|head|remask... [--tiny]

What our kernels are compared with, at the same sizes (kernels/*.cu): PyTorch on cuBLASLt, cuDNN and flash attention.
Every line has the fields that say which case it is, as our own line has them.
"""
import sys

import torch
import torch.nn.functional as F

from common import COLD_BYTES, DEVICE, REHEARSAL, measure, random_bf16, report

TINY = "--tiny" in sys.argv


def use_library(name):
    if not REHEARSAL:
        torch.backends.cuda.preferred_blas_library(name)


# ---- the card's limits --------------------------------------------------------------------------------------------


def limits():
    values = (1 << 16) if TINY else (1 << 31)
    source = torch.randint(0, 127, (values,), dtype=torch.int8, device=DEVICE)
    target = torch.empty_like(source)
    measure("PyTorch", lambda _: target.copy_(source), 4, op="copy", bytes=2 * values)
    del source, target
    n = 64 if TINY else 8192
    a, b = random_bf16(n, n), random_bf16(n, n)
    for library in ("cublaslt", "cublas"):
        use_library(library)
        measure(library, lambda _: a @ b, 8, op="product bf16", operations=2 * n**3, size=n)
    one = torch.ones((), device=DEVICE)
    a8 = a.to(torch.float8_e4m3fn)
    b8 = b.t().contiguous().to(torch.float8_e4m3fn).t()
    measure(
        "cublaslt",
        lambda _: torch._scaled_mm(a8, b8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16),
        8,
        op="product fp8",
        operations=2 * n**3,
        size=n,
    )


# ---- linear -------------------------------------------------------------------------------------------------------

LINEAR = [
    ("query", 2560, 2560, "bias"),
    ("keys and values", 2560, 5120, "bias"),
    ("queries, keys and values", 2560, 7680, "pair"),  # as one matrix
    ("attention output", 2560, 2560, "norm"),
    ("feed-forward in", 2560, 10240, "gelu"),
    ("feed-forward out", 10240, 2560, "norm"),
]
LINEAR_TINY = [
    ("query", 64, 64, "bias"),
    ("queries, keys and values", 64, 192, "pair"),
    ("feed-forward in", 64, 144, "gelu"),
    ("feed-forward out", 144, 64, "norm"),
]


def linear():
    for shape, inputs, outputs, epilogue in LINEAR_TINY if TINY else LINEAR:
        copies = 2 if TINY else min(COLD_BYTES // (inputs * outputs * 2) + 1, 64)
        weights = [random_bf16(outputs, inputs, deviation=inputs**-0.5) for _ in range(copies)]
        bias = random_bf16(outputs)
        gain, shift = (torch.randn(outputs, device=DEVICE) for _ in range(2))
        for rows in (1, 9) if TINY else (1, 8, 16, 32, 64, 96, 128, 160, 192, 256):
            x = random_bf16(rows, inputs)
            states = torch.zeros(rows, outputs, device=DEVICE)

            def product(i):
                return x @ weights[i].t()

            def whole(i):
                y = F.linear(x, weights[i], bias)
                if epilogue == "gelu":
                    return F.gelu(y)
                if epilogue == "norm":
                    states.add_(y)
                    return F.layer_norm(states, (outputs,), gain, shift).to(torch.bfloat16)
                return y

            case = {"op": "linear", "shape": shape, "epilogue": epilogue, "rows": rows}
            for library in ("cublaslt", "cublas"):
                use_library(library)
                measure(f"{library}, product alone", product, copies, **case)
            use_library("cublaslt")
            measure("PyTorch", whole, copies, **case)


# ---- attention ----------------------------------------------------------------------------------------------------

ATTENTION = [  # model, heads, head size, layers, batch, source, target, ragged
    ("xl", 32, 80, 36, 1, 64, 32, 0), ("xl", 32, 80, 36, 8, 64, 32, 0), ("xl", 32, 80, 36, 64, 64, 32, 0),
    ("xl", 32, 80, 36, 64, 64, 32, 1), ("xl", 32, 80, 36, 1, 0, 64, 0), ("xl", 32, 80, 36, 8, 0, 64, 0),
    ("xl", 32, 80, 36, 64, 0, 64, 0), ("xl", 32, 80, 36, 1, 512, 128, 0), ("xl", 32, 80, 36, 8, 512, 128, 0),
    ("base", 12, 64, 12, 1, 64, 32, 0), ("base", 12, 64, 12, 8, 64, 32, 0), ("base", 12, 64, 12, 64, 64, 32, 0),
]  # fmt: skip
ATTENTION_TINY = [("xl", 2, 80, 2, 2, 13, 7, 1), ("base", 2, 64, 2, 1, 0, 20, 0)]


def flash_varlen(q, k, v, first_q, first_k, most_q, most_k):
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return torch.ops.aten._flash_attention_forward(
            q, k, v, first_q, first_k, most_q, most_k, 0.0, False, False
        )[0]
    return varlen_attn(q, k, v, first_q, first_k, most_q, most_k)


def attention():
    """On keys and values that already lie behind one another, source then target: joining them costs a peer nothing."""
    for model, heads, size, layers, batch, source, target, ragged in ATTENTION_TINY if TINY else ATTENTION:
        sources = [source // 4 + s * 37 % (source * 3 // 2 + 1) if ragged else source for s in range(batch)]
        keys, most = sum(sources) + batch * target, max(sources) + target
        sets = 2 if TINY else max(2, min(COLD_BYTES // (keys * 2 * heads * size * 2) + 1, layers * 16))
        case = dict(op="attention", model=model, batch=batch, source=source, target=target, ragged=ragged)

        q = random_bf16(batch * target, heads, size)
        packed = [(random_bf16(keys, heads, size), random_bf16(keys, heads, size)) for _ in range(sets)]
        first_q = torch.arange(0, batch * target + 1, target, dtype=torch.int32, device=DEVICE)
        lengths = torch.tensor([0] + [rows + target for rows in sources], device=DEVICE)
        first_k = lengths.cumsum(0).to(torch.int32)
        measure(
            "varlen flash attention",
            lambda i: flash_varlen(q, *packed[i], first_q, first_k, target, most),
            sets,
            **case,
        )
        del packed
        padded_q = random_bf16(batch, heads, target, size)
        padded = [[random_bf16(batch, heads, most, size) for _ in range(2)] for _ in range(sets)]
        mask = (torch.arange(most, device=DEVICE) < lengths[1:, None])[:, None, None, :].expand(-1, 1, target, -1)
        mask = mask.contiguous()
        measure(
            "scaled_dot_product_attention, mask",
            lambda i: F.scaled_dot_product_attention(padded_q, *padded[i], attn_mask=mask),
            sets,
            **case,
        )
        if not ragged:
            measure(
                "scaled_dot_product_attention, no mask",
                lambda i: F.scaled_dot_product_attention(padded_q, *padded[i]),
                sets,
                **case,
            )


# ---- head and re-masking ------------------------------------------------------------------------------------------


def head():
    use_library("cublaslt")
    models = [("base", 64, 1024)] if TINY else [("xl", 2560, 250880), ("large", 1024, 250002), ("base", 768, 250002)]
    for model, width, vocabulary in models:
        weight, bias = random_bf16(vocabulary, width, deviation=width**-0.5), random_bf16(vocabulary)
        for rows in (1, 20) if TINY else (1, 8, 15, 30, 60, 120, 160, 240, 480, 1920):
            x = random_bf16(rows, width)

            def logits_argmax_sum(_):
                logits = F.linear(x, weight, bias)
                return logits.argmax(-1), torch.logsumexp(logits.float(), -1)

            case = {"op": "head", "model": model, "rows": rows}
            measure("PyTorch: linear, argmax, logsumexp", logits_argmax_sum, 1 if TINY else 4, **case)
            measure("cublaslt, product alone", lambda _: x @ weight.t(), 1 if TINY else 4, **case)


def remask():
    for batch in (2,) if TINY else (1, 8, 64, 512):
        for length in (9,) if TINY else (32, 128, 512):
            scores = -torch.rand(batch, length, device=DEVICE)
            tokens = torch.full((batch, length), 7, dtype=torch.int32, device=DEVICE)
            count = (length - 2) // 2

            def top(_):
                return torch.topk(scores, count, dim=-1, largest=False)

            def top_and_scatter(_):
                chosen = torch.topk(scores, count, dim=-1, largest=False).indices
                tokens.scatter_(1, chosen, 250001)
                scores.scatter_(1, chosen, 0.0)

            case = {"op": "remask", "batch": batch, "length": length}
            measure("torch.topk", top, 1 if TINY else 100, **case)
            measure("torch.topk, scatter", top_and_scatter, 1 if TINY else 100, **case)


PARTS = {"measure": limits, "linear": linear, "attention": attention, "head": head, "remask": remask}

if __name__ == "__main__":
    torch.manual_seed(0)
    wanted = [name for name in sys.argv[1:] if name in PARTS]
    if not wanted:
        sys.exit(__doc__)
    name = torch.cuda.get_device_name() if not REHEARSAL else "no GPU"
    report("PyTorch", op="software", torch=torch.__version__, cuda=torch.version.cuda, device=name)
    for part in wanted:
        PARTS[part]()
