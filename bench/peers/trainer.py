"""One-step training with dynamic mixed attention in PyTorch: the same steps as `mask-predict train`.

The same examples in the same order with the same masks (counter-based draws on seed, epoch and example), the same loss,
AdamW and learning rates; so it is the peer that the package's trainer is measured beside, the independent truth it is
tested against, and the program for machines with several GPUs. It needs torch 1.13 or later and nothing else.

  mask-predict tokens data.jsonl --tokenizer spm.model --out data.tokens
  python3 trainer.py --model DIR --tokens data.tokens --out DIR --steps 20000
  torchrun --nproc_per_node 2 -r 1 -t 1 trainer.py …            (several processes on CPUs: DDP with gloo)
  torchrun --nproc_per_node 8 trainer.py … --device cuda [--fsdp]    (NOT RUN so far: no GPU has run a step of it)

--model is a directory of XLM-R (config.json and one model.safetensors; `mask-predict convert` makes one of other files);
the result is a directory that `MaskPredict.load` takes. Differences: dropout has torch's own draws, and a stopped training
does not go on, it begins anew from what was saved.
"""

import argparse
import json
import math
import os
import resource
import struct
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as functional

BOS, PAD, EOS = 0, 1, 2
WINDOW = 8192  # examples that are sorted by length together


# --- Draws (lib/training/random.ts) ---------------------------------------------------------------------------------

WORD = 0xFFFFFFFF
PURPOSES = {"target": 0, "source": 1, "order": 2, "steps": 4}


def philox(counter, key):
    """Philox4x32-10: four words of the counter and two of the key become four words."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        x, y = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (y >> 32) ^ b ^ k, y & WORD, (x >> 32) ^ d ^ l, x & WORD
        k, l = (k + 0x9E3779B9) & WORD, (l + 0xBB67AE85) & WORD
    return a, b, c, d


class Draws:
    def __init__(self, seed, purpose, epoch, example):
        self.key = (seed & WORD, seed >> 32 & WORD)
        self.counter = [0, example, epoch, PURPOSES[purpose] << 16]
        self.words = []

    def bits(self):
        if not self.words:
            self.words = list(philox(self.counter, self.key))
            self.counter[0] += 1
        return self.words.pop(0)

    def below(self, bound):
        """A uniform integer from 0 to bound - 1."""
        most = 2**32 - 2**32 % bound
        value = self.bits()
        while value >= most:
            value = self.bits()
        return value % bound

    def choose(self, values, count, first=0):
        """Moves a uniform choice of `count` of values[first:] to its front, in random order."""
        length = len(values) - first
        for i in range(min(count, length - 1)):
            j = i + self.below(length - i)
            values[first + i], values[first + j] = values[first + j], values[first + i]


# --- Data (lib/training/token-cache.ts, batches.ts, corruption.ts) ---------------------------------------------------


class Examples:
    """Ids of all examples, as `mask-predict tokens` writes them."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        examples, ids, _ = struct.unpack("<3Q", data[-32:-8])
        if data[-8:] != b"MPTOKEN1" or len(data) != 4 * ids + 4 * examples + 32:
            sys.exit(f"{path}: not a file that `mask-predict tokens` wrote")
        self.ids = torch.frombuffer(bytearray(data[: 4 * ids]), dtype=torch.int32)
        lengths = struct.unpack(f"<{2 * examples}H", data[4 * ids : 4 * ids + 4 * examples])
        self.sources, self.targets = lengths[0::2], lengths[1::2]
        self.rows = [s + t for s, t in zip(self.sources, self.targets)]
        self.starts = [0]
        for rows in self.rows:
            self.starts.append(self.starts[-1] + rows)

    def __len__(self):
        return len(self.rows)

    def read(self, example):
        first, middle, end = self.starts[example], self.starts[example] + self.sources[example], self.starts[example + 1]
        return self.ids[first:middle].tolist(), self.ids[middle:end].tolist()


def epoch_steps(examples, seed, epoch, rows):
    """The examples of each step of an epoch, in order."""
    order = list(range(len(examples)))
    draws = Draws(seed, "order", epoch, 0)
    for first in range(0, len(order), WINDOW):
        draws.choose(order, WINDOW, first)
    for window in range(math.ceil(len(order) / WINDOW)):
        members = sorted(order[window * WINDOW : (window + 1) * WINDOW], key=lambda e: examples.rows[e])
        steps, left = [], 0
        for example in members:
            if examples.rows[example] > left:
                steps.append([])
                left = rows
            steps[-1].append(example)
            left -= examples.rows[example]
        places = list(range(len(steps)))
        Draws(seed, "steps", epoch, window).choose(places, len(places))
        yield from (steps[place] for place in places)


def masked(ids, count, mask, draws):
    positions = list(range(1, len(ids) - 1))
    draws.choose(positions, count)
    copy = list(ids)
    for position in positions[:count]:
        copy[position] = mask
    return copy


def corrupted(examples, example, seed, epoch, mask, percent):
    """Corrupted source, corrupted target, target."""
    source, target = examples.read(example)
    count = percent * (len(source) - 2) // 100
    if count > 0:
        source = masked(source, count, mask, Draws(seed, "source", epoch, example))
    draws = Draws(seed, "target", epoch, example)
    return source, masked(target, 1 + draws.below(len(target) - 2), mask, draws), target


def padded(lists):
    longest = max(map(len, lists))
    return torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in lists])


# --- The model --------------------------------------------------------------------------------------------------------


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, f, eps = config["hidden_size"], config["intermediate_size"], config["layer_norm_eps"]
        self.heads = config["num_attention_heads"]
        self.pre = config["model_type"] == "xlm-roberta-xl"
        self.query_key_value, self.output = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d, eps), nn.LayerNorm(d, eps)
        self.widen, self.narrow = nn.Linear(d, f), nn.Linear(f, d)

    def attend(self, x, sources, bias):
        """Eq. (7): the first `sources` rows see themselves, the others see all."""
        b, n, d = x.shape
        q, k, v = self.query_key_value(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        k = k.transpose(-1, -2) / math.sqrt(d // self.heads)
        s = sources
        of_source = torch.softmax((q[:, :, :s] @ k[..., :s]).float() + bias[..., :s], -1).to(v.dtype) @ v[:, :, :s]
        of_target = torch.softmax((q[:, :, s:] @ k).float() + bias, -1).to(v.dtype) @ v
        return self.output(torch.cat([of_source, of_target], 2).transpose(1, 2).reshape(b, n, d))

    def forward(self, x, sources, bias, dropout):
        drop = lambda y: functional.dropout(y, dropout, self.training)
        feed_forward = lambda y: self.narrow(functional.gelu(self.widen(y)))
        if self.pre:
            x = x + drop(self.attend(self.attention_norm(x), sources, bias))
            return x + drop(feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + drop(self.attend(x, sources, bias)))
        return self.feed_forward_norm(x + drop(feed_forward(x)))


class Model(nn.Module):
    """`forward` gives the loss, so that it can be wrapped as it is."""

    def __init__(self, config, dropout, smoothing, length_weight):
        super().__init__()
        d, eps = config["hidden_size"], config["layer_norm_eps"]
        self.pre = config["model_type"] == "xlm-roberta-xl"
        self.real_ids = config["mask_token_id"] + 1
        self.dropout, self.smoothing, self.length_weight = dropout, smoothing, length_weight
        self.words = nn.Embedding(config["vocab_size"], d)
        self.positions = nn.Embedding(config["max_position_embeddings"], d)
        self.types = nn.Parameter(torch.zeros(config.get("type_vocab_size", 1), d))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.LayerNorm(d, eps)  # of the embeddings in post-norm models, of the final states in pre-norm ones
        self.dense, self.head_norm = nn.Linear(d, d), nn.LayerNorm(d, eps)
        tied = config.get("tie_word_embeddings", True)
        self.decoder = None if tied else nn.Parameter(torch.zeros(config["vocab_size"], d))
        self.bias = nn.Parameter(torch.zeros(config["vocab_size"]))
        self.lengths = nn.Parameter(torch.randn(config["length_vocab_size"], d) * 0.02)

    def embed(self, ids):
        real = ids.ne(PAD)
        places = torch.cumsum(real, 1) * real + PAD
        return self.words(ids) + self.positions(places) + self.types[0]

    def forward(self, source, target, gold, masked_in_all, targets_in_all):
        """The loss of these examples as a share of that of the step, and the sums that its parts are means of."""
        sources = source.shape[1]
        x = torch.cat([self.embed(source), self.embed(target)], 1)
        if not self.pre:
            x = self.norm(x)
        x = functional.dropout(x, self.dropout, self.training)
        hidden = torch.cat([source, target], 1).eq(PAD)
        bias = torch.zeros(hidden.shape, device=x.device).masked_fill(hidden, float("-inf"))[:, None, None]
        for layer in self.layers:
            x = layer(x, sources, bias, self.dropout)
        if self.pre:
            x = self.norm(x)

        predicted = target.eq(self.real_ids - 1) | target.ne(gold)
        # Autocast leaves the result of a product in bfloat16, and on a CPU LayerNorm wants what its weights are.
        states = self.head_norm(functional.gelu(self.dense(x[:, sources:][predicted])).float())
        decoder = self.words.weight if self.decoder is None else self.decoder
        logits = functional.linear(states, decoder[: self.real_ids], self.bias[: self.real_ids]).float()
        logs = logits.log_softmax(-1)
        nll = -logs.gather(1, gold[predicted][:, None]).sum()
        smoothed = (1 - self.smoothing) * nll - self.smoothing * logs.mean(-1).sum()

        real = source.ne(PAD)[..., None].to(x.dtype)
        mean = (x[:, :sources] * real).sum(1) / real.sum(1)
        classes = gold.ne(PAD).sum(1)
        length = functional.cross_entropy(functional.linear(mean, self.lengths).float(), classes, reduction="sum")
        loss = smoothed / masked_in_all + self.length_weight * length / targets_in_all
        return loss, nll.detach(), length.detach()

    def named(self):
        """Hugging Face's names and the tensors, several for a joined one."""
        d = self.words.weight.shape[1]
        out = {
            "roberta.embeddings.word_embeddings.weight": self.words.weight,
            "roberta.embeddings.position_embeddings.weight": self.positions.weight,
            "roberta.embeddings.token_type_embeddings.weight": self.types,
            "lm_head.bias": self.bias,
            "embed_length.weight": self.lengths,
        }

        def put(name, module):
            out[f"{name}.weight"], out[f"{name}.bias"] = module.weight, module.bias

        put("roberta.encoder.LayerNorm" if self.pre else "roberta.embeddings.LayerNorm", self.norm)
        put("lm_head.dense", self.dense)
        put("lm_head.layer_norm", self.head_norm)
        if self.decoder is not None:
            out["lm_head.decoder.weight"] = self.decoder
        for i, layer in enumerate(self.layers):
            at = f"roberta.encoder.layer.{i}."
            for part, name in enumerate(("query", "key", "value")):
                rows = slice(part * d, (part + 1) * d)
                out[f"{at}attention.self.{name}.weight"] = layer.query_key_value.weight[rows]
                out[f"{at}attention.self.{name}.bias"] = layer.query_key_value.bias[rows]
            put(f"{at}attention.output.dense", layer.output)
            put(f"{at}intermediate.dense", layer.widen)
            put(f"{at}output.dense", layer.narrow)
            norms = ("attention.self_attn_layer_norm", "LayerNorm")
            if not self.pre:
                norms = ("attention.output.LayerNorm", "output.LayerNorm")
            put(at + norms[0], layer.attention_norm)
            put(at + norms[1], layer.feed_forward_norm)
        return out


# --- Files ------------------------------------------------------------------------------------------------------------

TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in TYPES:
            continue
        begin, end = entry["data_offsets"]
        raw = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[entry["dtype"]])
        tensors[name] = raw.view(entry["shape"]).float()
    return tensors


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{path}.part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    os.replace(f"{path}.part", path)


def load(directory, options):
    """The model of a directory and its configuration; without a length predictor one is drawn."""
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)
    config.setdefault("layer_norm_eps", 1e-5)
    config.setdefault("mask_token_id", config["vocab_size"] - 1)
    config.setdefault("length_vocab_size", config["max_position_embeddings"] - 1)
    torch.manual_seed(options.seed)
    model = Model(config, options.dropout, options.label_smoothing, options.length_weight)
    tensors = read_safetensors(os.path.join(directory, "model.safetensors"))
    missing = [name for name in model.named() if name not in tensors and name != "embed_length.weight"]
    if missing:
        sys.exit(f"{directory}: there is no {missing[0]}")
    with torch.no_grad():
        for name, tensor in model.named().items():
            if name in tensors:
                tensor.copy_(tensors[name])
    return model, config


def save(model, config, source, directory):
    os.makedirs(directory, exist_ok=True)
    write_safetensors(os.path.join(directory, "model.safetensors"), model.named())
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    tokenizer = os.path.join(source, "sentencepiece.bpe.model")
    if os.path.exists(tokenizer):
        with open(tokenizer, "rb") as read, open(os.path.join(directory, "sentencepiece.bpe.model"), "wb") as write:
            write.write(read.read())


# --- The loop ---------------------------------------------------------------------------------------------------------


def rate_factor(options, step):
    """Of step 1, 2, …: lib/training/schedule.ts."""
    if step <= options.warmup:
        return step / options.warmup
    if options.schedule == "constant":
        return 1
    if options.schedule == "inverse-sqrt":
        return math.sqrt(max(options.warmup, 1) / max(step - 1, 1))
    return max(0, (options.steps - (step - 1)) / (options.steps - options.warmup))


class Processes:
    """One process, or those of torchrun."""

    def __init__(self, device):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = torch.device(device)
        if self.count > 1:
            import torch.distributed as distributed

            distributed.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))

    def wrap(self, model, sharded):
        if sharded:
            from torch.distributed.fsdp import FullyShardedDataParallel  # torch 2.1 or later; NOT RUN so far

            return FullyShardedDataParallel(model, use_orig_params=True, device_id=self.device)
        if self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model)

    def sum(self, values):
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.count > 1:
            torch.distributed.all_reduce(total)
        return total.tolist()

    def end(self):
        """Ends a process of several at once. torch 1.13 can wait for ever when it frees a gloo group in good order: it joins
        the group's thread while it holds the interpreter's lock, and that thread needs the lock to free its last tensor.
        """
        if self.count > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def optimiser(model, options):
    """AdamW; biases and the gains of norms do not decay."""
    decays = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decays, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98), eps=1e-6)


class Training:
    def __init__(self, options):
        self.options = options
        self.processes = Processes(options.device)
        self.model, self.config = load(options.model, options)
        self.model.to(self.processes.device).train()
        self.wrapped = self.processes.wrap(self.model, options.fsdp)
        self.optimiser = optimiser(self.wrapped, options)
        self.examples = Examples(options.tokens)
        self.step = 0

    def steps(self):
        """All steps of the training; each gives its figures."""
        epoch = 0
        while self.step < self.options.steps:
            for members in epoch_steps(self.examples, self.options.seed, epoch, self.options.rows):
                if self.step == self.options.steps:
                    return
                yield self.one(epoch, members)
            epoch += 1

    def batch(self, epoch, members):
        o = self.options
        mask = self.config["mask_token_id"]
        parts = [corrupted(self.examples, e, o.seed, epoch, mask, o.source_mask) for e in members]
        return [padded(list(ids)).to(self.processes.device) for ids in zip(*parts)]

    def one(self, epoch, members):
        count = self.processes.count
        # A process without examples takes one that counts nothing, so that it takes part in the sums of all.
        own = members[self.processes.rank :: count]
        share = count if own else 0
        source, target, gold = self.batch(epoch, own or members[:1])
        begun = time.perf_counter()  # ids can be made ready during the step before
        masked_here = int((target.eq(self.config["mask_token_id"]) | target.ne(gold)).sum()) if own else 0
        masked_in_all, targets_in_all = self.processes.sum([masked_here, len(own)])

        self.step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.learning_rate * rate_factor(self.options, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.processes.device.type, torch.bfloat16, self.options.precision == "bf16"):
            loss, nll, length = self.wrapped(source, target, gold, masked_in_all, targets_in_all)
        (loss * share).backward()
        clip = self.wrapped.clip_grad_norm_ if self.options.fsdp else self.clip
        norm = clip(1.0)
        self.optimiser.step()

        present = 1 if own else 0
        sums = self.processes.sum([present * loss.item(), present * nll.item(), present * length.item()])
        rows = sum(self.examples.rows[e] for e in members)
        return {
            "step": self.step,
            "epoch": epoch,
            "loss": sums[0],
            "nll": sums[1] / masked_in_all,
            "lengthLoss": sums[2] / targets_in_all,
            "gradientNorm": float(norm),
            "learningRate": self.optimiser.param_groups[0]["lr"],
            "rows": rows,
            "rowsPerSecond": rows / (time.perf_counter() - begun),
        }

    def clip(self, most):
        return nn.utils.clip_grad_norm_(self.wrapped.parameters(), most)

    def save(self):
        if self.options.fsdp:
            from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType

            choice = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
            with FullyShardedDataParallel.state_dict_type(self.wrapped, StateDictType.FULL_STATE_DICT, choice):
                state = self.wrapped.state_dict()
            if self.processes.rank > 0:
                return
            self.model = Model(self.config, 0, 0, 0)
            self.model.load_state_dict(state)
        if self.processes.rank == 0:
            save(self.model, self.config, self.options.model, self.options.out)


def arguments():
    parser = argparse.ArgumentParser(description="Trains as `mask-predict train` does, in PyTorch.")
    parser.add_argument("--model", required=True, help="directory to begin with")
    parser.add_argument("--tokens", required=True, help="what `mask-predict tokens` wrote")
    parser.add_argument("--out", required=True, help="directory of the result")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rows", type=int, default=4096, help="ids of sources and targets in a step")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--schedule", choices=["polynomial", "inverse-sqrt", "constant"], default="polynomial")
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--length-weight", type=float, default=0.1)
    parser.add_argument("--source-mask", type=int, default=15, help="percent of a source's tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of the products, by autocast")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--fsdp", action="store_true", help="shard the weights over the GPUs")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--save-every", type=int, default=0, help="steps")
    parser.add_argument("--log", help="file for the figures of each step, as JSON lines")
    parser.add_argument("--jobs", action="store_true", help="take the number of steps to do next from standard input")
    return parser.parse_args()


def answer_jobs(training):
    """For the benchmark: a line `{"steps": n}` in, a line with the seconds and rows of each step out."""
    print(json.dumps({"torch": torch.__version__}), flush=True)
    steps = training.steps()
    for line in sys.stdin:
        done = [next(steps) for _ in range(json.loads(line)["steps"])]
        seconds = [step["rows"] / step["rowsPerSecond"] for step in done]
        print(json.dumps({"seconds": seconds, "rows": [s["rows"] for s in done], "loss": done[-1]["loss"]}), flush=True)


def main():
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    training = Training(options)
    if options.jobs:
        return answer_jobs(training)
    log = open(options.log, "w") if options.log and training.processes.rank == 0 else None
    for step in training.steps():
        if log:
            print(json.dumps(step), file=log, flush=True)
        if training.processes.rank == 0 and step["step"] % 20 == 0:
            print(f"step {step['step']:,}  loss {step['loss']:.4f}  {step['rowsPerSecond']:,.0f} rows/s", flush=True)
        if options.save_every and step["step"] % options.save_every == 0:
            training.save()
    training.save()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{options.out}: {training.step} steps, {peak:.0f} MiB at most", flush=True)
    training.processes.end()


if __name__ == "__main__":
    main()
