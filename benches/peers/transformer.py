"""foretap's transformer in PyTorch, from the formulas at the top of `src/transformer/weights.rs`.

Weights `w` are a dictionary by the names of `Layout::tensors`. Sizes in comments: B sequences of T tokens, N = B * T,
d = d_model, H heads, G classes of a time gap, Q questions, C candidates of the question that has most, V = apps + 1,
p = pointer_width, M softmaxes of a mixture.
"""

import torch
import torch.nn.functional as F

NO_TARGET = 2**32 - 1
MASKED = -1e30  # not -inf: nothing times it is nothing
FACTS = ["kind", "place", "gap", "network", "battery"]  # whose tables are small
LISTS = ["kinds", "places", "gaps", "networks", "batteries"]  # where a batch names their rows


def prepare(batch, w, length):
    """A batch as tensors, one a field of `Batch`: what no weight changes is worked out before any clock starts."""
    b = {name: values if values.is_floating_point() else values.long() for name, values in batch.items()}
    rows = [len(w[f"{fact}_embedding"]) for fact in FACTS]
    hot = [F.one_hot(b[name], count).float() for name, count in zip(LISTS, rows)]
    gap_classes = len(w["gap_embedding"])
    secs = b["secs"].view(-1, length)                                                 # [B, T]
    passed = (secs[:, :, None] - secs[:, None, :]).clamp(min=0)                       # [B, T, T], row by column
    octave = torch.frexp(passed.double()).exponent.long()                             # in halves: `gap` in Rust
    half = (passed.long() >> (octave - 2).clamp(min=0)) % 2
    classes = torch.where(octave < 2, octave, 2 * octave - 2 + half).clamp(max=gap_classes - 1)
    ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
    classes = classes.masked_fill(ahead, gap_classes)
    offsets = b["offsets"]
    counts = offsets.diff()                                                           # [Q]
    row = torch.repeat_interleave(torch.arange(len(counts)), counts)                  # [candidates]
    cell = row, torch.arange(len(row)) - offsets[row]                                 # in [Q, C]
    widest = int(counts.max()) if len(counts) else 0

    def padded(values, filler):
        table = torch.full((len(counts), widest, *values.shape[1:]), filler, dtype=values.dtype)
        table[cell] = values
        return table

    has_next = b["next_apps"] != NO_TARGET
    return {
        "apps": b["apps"],                                                            # [N]
        "facts": torch.cat([*hot, b["clock"]], 1),                                    # [N, facts]
        "classes": classes.flatten(),                                                 # [B * T * T]
        "next_apps": b["next_apps"].masked_fill(~has_next, -100),                     # [N], as cross_entropy asks
        "next_tokens": int(has_next.sum()),
        "asked_at": b["question_tokens"],                                             # [Q]
        "question_columns": b["question_columns"],                                    # [Q, columns]
        "candidate_apps": padded(b["candidate_apps"], 0),                             # [Q, C]
        "candidate_columns": padded(b["candidate_columns"], 0.0),                     # [Q, C, columns]
        "targets": padded(b["targets"], 0.0),                                         # [Q, C]
        "absent": padded(torch.zeros(len(row)), MASKED),                              # [Q, C]
        "cell": cell,
    }


def rectified(x, seen):
    """`x` where it is positive; who wants to look at the inputs of all rectifiers passes a list."""
    if seen is not None:
        seen.append(x.detach())
    return x.relu()


def hidden(w, config, b, length, seen=None):
    """What the last layer says of every token, [N, d]."""
    heads, d = config["heads"], config["d_model"]
    tables = torch.cat([w[f"{fact}_embedding"] for fact in FACTS] + [w["clock_projection"]])
    x = F.embedding(b["apps"], w["app_embedding"]) + b["facts"] @ tables              # [N, d]
    apart = lambda rows: rows.view(-1, length, heads, d // heads).transpose(1, 2)     # [B, H, T, d / H]
    for layer in range(config["layers"]):
        of = lambda name: w[f"layers.{layer}.{name}"]
        a = F.rms_norm(x, (d,), of("attention_norm"), 1e-5)
        q, k, v = (apart(a @ of(name)) for name in ("query", "key", "value"))
        table = F.pad(of("gap_bias"), (0, 1), value=MASKED)                           # [H, G + 1]
        bias = table.gather(1, b["classes"].expand(heads, -1))                        # [H, B * T * T]
        bias = bias.view(heads, -1, length, length).transpose(0, 1)                   # [B, H, T, T]
        # Faster here than scaled_dot_product_attention, whose fused kernel gives a bias no gradient.
        s = (q * (d // heads) ** -0.5) @ k.transpose(2, 3) + bias                     # [B, H, T, T]
        x = x + (s.softmax(3) @ v).transpose(1, 2).reshape(-1, d) @ of("output")
        f = F.rms_norm(x, (d,), of("feed_norm"), 1e-5)
        wide = rectified(torch.addmm(of("feed_in_bias"), f, of("feed_in")), seen)     # [N, d_ff]
        x = x + torch.addmm(of("feed_out_bias"), wide, of("feed_out"))
    return F.rms_norm(x, (d,), w["final_norm"], 1e-5)


def candidate_logits(w, b, h, seen=None):
    """[Q, C], MASKED beyond a question's own candidates."""
    named = w["app_embedding"][:-1]                                                   # [V, d], without "no app"
    h = h.index_select(0, b["asked_at"])                                              # [Q, d]
    classified = torch.addmm(w["app_bias"], h, named.T).gather(1, b["candidate_apps"])
    asked = torch.addmm(w["pointer_bias"], b["question_columns"], w["pointer_question"])
    asked = torch.addmm(asked, h, w["pointer_hidden"])                                # [Q, p]
    of_app = F.embedding(b["candidate_apps"], named @ w["pointer_app"])               # [Q, C, p]
    u = b["candidate_columns"] @ w["pointer_candidate"] + of_app + asked[:, None]
    own = None if seen is None else []                                                # padding, too
    u = rectified(u, own)
    u = rectified(u @ w["pointer_second"] + w["pointer_second_bias"], own)
    if seen is not None:
        seen.extend(inputs[b["cell"]] for inputs in own)
    logits = classified + u @ w["pointer_output"] + b["absent"]
    if "pointer_mixture" not in w:
        return logits
    added = F.pad(u @ w["pointer_mixture"], (1, 0))                                   # [Q, C, M]
    gates = torch.addmm(w["pointer_gate_bias"], rectified(asked, seen), w["pointer_gate"]).log_softmax(1)
    return ((logits[:, :, None] + added).log_softmax(1) + gates[:, None]).logsumexp(2)


def losses(w, config, b, length):
    """The sums of both cross entropies: the questions', the next apps'."""
    h = hidden(w, config, b, length)
    of_questions = h.new_zeros(())
    if len(b["asked_at"]):
        of_questions = -(b["targets"] * candidate_logits(w, b, h).log_softmax(1)).sum()
    next_logits = torch.addmm(w["app_bias"], h, w["app_embedding"][:-1].T)            # [N, V]
    return of_questions, F.cross_entropy(next_logits, b["next_apps"], reduction="sum")


def mean_loss(w, config, b, length, next_weight):
    """What is minimised, as `Engine::gradient` says."""
    of_questions, of_next = losses(w, config, b, length)
    return of_questions / max(len(b["asked_at"]), 1) + next_weight * of_next / max(b["next_tokens"], 1)
