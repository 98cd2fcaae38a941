"""huggingface.py MODEL... [--tiny]       MODEL: base, large, xl

Mask-Predict with Hugging Face's XLM-RoBERTa and XLM-RoBERTa-XL, run as the published code of the paper runs its
model: the hidden states on entering each layer are kept for the source; an iteration joins them with the target's and
runs each whole layer over source and target, drops the source rows, and puts every target row through the head, with
logits in float32 and a full log-softmax. In bfloat16, with scaled_dot_product_attention (faster than the published
code's own attention); also with all its launches in one CUDA graph, which that code does not do.

The weights are those of jobs.mjs. What came out there (its lines in $RESULTS) is compared, under the rules of both
programs' decoding: the share of equal tokens, and the log-probabilities of those; against this model in float32, its
matrices rounded to bfloat16 as ours are, and in bfloat16.
"""
import json
import os
import sys
import time

import torch

from common import DEVICE, REHEARSAL, report, spread
from weights import model_of

TINY = "--tiny" in sys.argv
TINY_NAMES = {"base": "tiny-post", "large": "tiny-post", "xl": "tiny-pre"}
MODELS = [TINY_NAMES[name] if TINY else f"xlm-r-{name}" for name in sys.argv[1:] if name != "--tiny"]
SOURCE, TARGET = (12, 9) if TINY else (64, 32)
BATCHES = (1, 3) if TINY else (1, 8, 64)
ROUNDS = (1, 2) if TINY else (1, 4, 10)  # T


class PublishedDecoding:
    def __init__(self, model, layers, pre, mask_id):
        self.model, self.layers, self.pre, self.mask_id = model, layers, pre, mask_id
        self.stack = model.roberta.encoder.layer

    def layer(self, index, states):
        output = self.stack[index](states)
        return output[0] if isinstance(output, tuple) else output

    def encode(self, ids):
        """The hidden states on entering each layer."""
        states, kept = self.model.roberta.embeddings(ids), []
        for index in range(self.layers):
            kept.append(states)
            states = self.layer(index, states)
        return kept

    def logits(self, kept, tokens):
        states = self.model.roberta.embeddings(tokens)
        for index in range(self.layers):
            joined = torch.cat([kept[index], states], dim=1)
            states = self.layer(index, joined)[:, kept[index].shape[1] :]
        if self.pre:
            states = self.model.roberta.encoder.LayerNorm(states)
        return self.model.lm_head(states)

    def decode(self, kept, batch, iterations, as_specified):
        """Tokens and their log-probabilities. As specified: ids that stand for no piece take no part, special ids
        are never predicted; else, as published, every id may be."""
        tokens = torch.full((batch, TARGET), self.mask_id, dtype=torch.long, device=DEVICE)
        tokens[:, 0], tokens[:, -1] = 0, 2
        scores = torch.zeros(batch, TARGET, device=DEVICE)
        inner = TARGET - 2
        for t in range(1, iterations + 1):
            logits = self.logits(kept, tokens).float()
            if as_specified:
                logits[..., self.mask_id + 1 :] = -torch.inf
            log_probs = torch.log_softmax(logits, dim=-1)
            if as_specified:
                log_probs[..., [0, 1, 2, self.mask_id]] = -torch.inf
            best, ids = log_probs.max(dim=-1)
            masked = tokens == self.mask_id
            tokens, scores = torch.where(masked, ids, tokens), torch.where(masked, best, scores)
            count = inner * (iterations - t) // iterations
            if count > 0:
                lowest = torch.topk(scores[:, 1:-1], count, dim=-1, largest=False).indices + 1
                tokens = tokens.scatter(1, lowest, self.mask_id)
                scores = scores.scatter(1, lowest, 0.0)
        return tokens, scores


def source_ids(batch, mask_id):
    rows = []
    for b in range(batch):
        row = [4 + (i * 7919 + b * 104729) % (mask_id - 4) for i in range(SOURCE)]
        row[0], row[-1] = 0, 2
        rows.append(row)
    return torch.tensor(rows, device=DEVICE)


def synchronize():
    if not REHEARSAL:
        torch.cuda.synchronize()


def timed(call):
    """Microseconds of calls that are waited for, over about three seconds."""
    for _ in range(1 if TINY else 2):
        call()
    synchronize()
    times, begun = [], time.perf_counter()
    while len(times) < (1 if TINY else 5) or (not TINY and len(times) < 100 and time.perf_counter() - begun < 3):
        start = time.perf_counter()
        call()
        synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return spread(times)


def in_a_graph(call):
    """The call with its launches recorded once; None without a GPU."""
    if REHEARSAL:
        return None
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def measure(who, call, **case):
    try:
        us, low, high = timed(call)
        report(who, us, low, high, **case)
    except Exception as error:  # noqa: BLE001: the other cases still run
        report(who, error=f"{type(error).__name__}: {str(error)[:200]}", **case)


def time_all(name, decoding, mask_id):
    for batch in BATCHES:
        ids = source_ids(batch, mask_id)
        kept = decoding.encode(ids)
        all_masked = torch.full((batch, TARGET), mask_id, dtype=torch.long, device=DEVICE)

        def one_pass():
            return torch.log_softmax(decoding.logits(kept, all_masked).float(), -1).max(-1)

        def job(iterations):
            return decoding.decode(decoding.encode(ids), batch, iterations, as_specified=False)

        case = {"model": name, "batch": batch}
        measure("Hugging Face", lambda: decoding.encode(ids), op="encode", **case)
        measure("Hugging Face", one_pass, op="iteration", **case)
        for iterations in ROUNDS[1:]:
            measure("Hugging Face", lambda: job(iterations), op="job", iterations=iterations, **case)
        for iterations in ROUNDS[1:] if not REHEARSAL else ():
            here = dict(op="job", iterations=iterations, **case)
            try:
                replay = in_a_graph(lambda: job(iterations))
            except Exception as error:  # noqa: BLE001
                report("Hugging Face in a CUDA graph", error=f"{type(error).__name__}: {str(error)[:200]}", **here)
            else:
                measure("Hugging Face in a CUDA graph", replay, **here)
                del replay
                torch.cuda.empty_cache()


def our_results():
    try:
        with open(os.environ["RESULTS"], encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    except (KeyError, OSError):
        return {}
    return {
        (line["model"], line["batch"], line["iterations"]): line
        for line in lines
        if line.get("who") == "ours" and line.get("op") == "result"
    }


def decode_all(decoding, mask_id):
    """(batch, T) to tokens and scores, under the rules of both."""
    results = {}
    for batch in BATCHES[:2]:
        kept = decoding.encode(source_ids(batch, mask_id))
        for iterations in ROUNDS:
            tokens, scores = decoding.decode(kept, batch, iterations, as_specified=True)
            results[batch, iterations] = tokens.cpu(), scores.cpu()
    return results


def agreement(tokens, scores, other_tokens, other_scores):
    same = (tokens == other_tokens)[:, 1:-1]
    apart = (scores - other_scores).abs()[:, 1:-1][same]
    return {
        "equal_tokens": same.float().mean().item(),
        "log_prob_mean": apart.mean().item() if same.any() else None,
        "log_prob_most": apart.max().item() if same.any() else None,
    }


def compare(name, exact, narrow):
    """Ours and Hugging Face's bfloat16, each with Hugging Face's float32."""
    ours = our_results()
    for (batch, iterations), (tokens, scores) in exact.items():
        case = {"op": "agreement", "model": name, "batch": batch, "iterations": iterations}
        report("Hugging Face bf16", **case, **agreement(*narrow[batch, iterations], tokens, scores))
        line = ours.get((name, batch, iterations))
        if line:
            mine = torch.tensor(line["tokens"]), torch.tensor(line["scores"])
            report("ours", **case, **agreement(*mine, tokens, scores))


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    for name in MODELS:
        begun = time.perf_counter()
        model, layers, pre, vocabulary = model_of(name, DEVICE)
        mask_id = 250001 if vocabulary == 250880 else vocabulary - 1
        decoding = PublishedDecoding(model, layers, pre, mask_id)
        report("Hugging Face", op="load", model=name, seconds=time.perf_counter() - begun)
        exact = decode_all(decoding, mask_id)
        model.to(torch.bfloat16)
        compare(name, exact, decode_all(decoding, mask_id))
        time_all(name, decoding, mask_id)
        del model, decoding
        if not REHEARSAL:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    with torch.inference_mode():
        main()
